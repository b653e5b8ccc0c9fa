"""HTTP ingest of items and users."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.columns import ITEM_COLUMNS
from services.core.errors import InvalidInput, MalformedBody, PortraitError
from services.ingest.catalogue import check_id, parse_items, parse_user

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def item(**changes: object) -> dict[str, object]:
    return {"item_id": "i1", "title": "Lamp", **changes}


def parse(*items: object):
    return parse_items(json.dumps({"items": list(items)}).encode(), NOW)


def test_a_whole_item_becomes_one_row():
    frame = parse(
        item(
            description="A <b>lamp</b>",
            brand="Ｌumo",
            categories=["Home", "Home", " ", "Light &amp; Lamps"],
            price=19.5,
            currency="EUR",
            attributes={"colour": "red\u0000", "sizes": [1, 2.5, None, True]},
            image_urls=["https://shop.example/1.jpg"],
            video_urls=["file:///media/1.mp4"],
            available=False,
            published_at="2026-01-01T01:00:00+01:00",
        )
    ).frame
    assert frame.columns == list(ITEM_COLUMNS)
    assert frame.row(0, named=True) == {
        "item_id": "i1",
        "title": "Lamp",
        "description": "A lamp",
        "brand": "Lumo",
        "categories": ["Home", "Light & Lamps"],
        "price": 19.5,
        "currency": "EUR",
        "attributes": '{"colour":"red","sizes":[1,2.5,null,true]}',
        "image_urls": ["https://shop.example/1.jpg"],
        "video_urls": ["file:///media/1.mp4"],
        "available": False,
        "published_at": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_what_is_not_said_is_empty_and_an_item_is_available():
    row = parse(item()).frame.row(0, named=True)
    assert row["categories"] == row["image_urls"] == row["video_urls"] == []
    assert (row["attributes"], row["available"], row["price"]) == ("{}", True, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": "x" * 10_000}, "text-too-long"),
        ({"title": " <br> "}, "title-missing"),
        ({"title": None}, "wrong-type"),
        ({"item_id": ""}, "id-empty"),
        ({"price": -1}, "price-range"),
        ({"price": "19.50"}, "wrong-type"),
        ({"price": float("nan")}, "wrong-type"),
        ({"currency": "euro"}, "currency-unknown"),
        ({"categories": "Home"}, "wrong-type"),
        ({"categories": [str(n) for n in range(33)]}, "list-too-long"),
        ({"categories": ["x" * 201]}, "text-too-long"),
        ({"image_urls": ["ftp://x"]}, "url-invalid"),
        ({"image_urls": ["https://x/ y"]}, "url-invalid"),
        ({"attributes": {"a": {"b": 1}}}, "wrong-type"),
        ({"attributes": {"a": "x" * 40_000}}, "attributes-too-large"),
        ({"available": "yes"}, "wrong-type"),
        ({"published_at": "yesterday"}, "invalid-timestamp"),
        ({"stock": 3}, "unknown-field"),
        ({"title": "\ud800"}, "invalid-unicode"),
    ],
)
def test_a_bad_item_is_rejected_alone(changes, code):
    parsed = parse(item(item_id="before"), item(**changes), item(item_id="after"))
    assert [(r.index, r.code) for r in parsed.rejected] == [(1, code)]
    assert parsed.frame["item_id"].to_list() == ["before", "after"]


def test_a_title_of_two_thousand_characters_is_long_enough():
    assert parse(item(title="x" * 2_000)).rejected == []


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(list(ITEM_COLUMNS)), ANY, max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(FIELDS.map(lambda fields: item(**fields)), min_size=1, max_size=4))
def test_no_item_raises_anything_unexpected(items):
    parsed = parse(*items)
    assert parsed.frame.height + len(parsed.rejected) == len(items)


def test_a_user_may_set_attributes_and_consent():
    user = parse_user(b'{"attributes":{"city":"Ulm\\u0000"},"consent":{"personalisation":false}}')
    assert (user.attributes, user.consent) == ({"city": "Ulm"}, {"personalisation": False})


def test_what_is_not_said_of_a_user_stays():
    assert parse_user(b"{}").attributes is None


@pytest.mark.parametrize("content", [b'{"consent":{"personalisation":1}}', b'{"name":"x"}', b"[]", b'{"attributes":3}'])
def test_a_user_of_the_wrong_shape_is_refused(content):
    with pytest.raises(InvalidInput):
        parse_user(content)


def test_a_user_that_is_not_json_is_refused():
    with pytest.raises(MalformedBody):
        parse_user(b'{"attributes": NaN}')


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=140))
def test_any_text_is_an_id_or_a_named_error(text):
    try:
        assert check_id("user_id", text) == text
    except PortraitError as error:
        assert "user_id" in error.detail


def test_a_date_that_postgresql_cannot_read_is_refused_alone():
    found = parse(
        item(published_at="9999-12-31T23:59:59-05:00"), item(item_id="i2", published_at="9999-12-31T23:59:59Z")
    )
    assert [(one.index, one.code) for one in found.rejected] == [(0, "published-too-late")]
    assert found.frame["item_id"].to_list() == ["i2"]
