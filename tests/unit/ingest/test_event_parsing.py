"""HTTP ingest of events: every bad event is named with its cure, and none costs its neighbours theirs."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.columns import EVENT_COLUMNS
from services.core.errors import BodyTooLarge, InvalidInput, MalformedBody, PortraitError
from services.ingest.events import parse_events

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def event(**changes: object) -> dict[str, object]:
    base = {
        "event_id": "e1",
        "user_id": "u1",
        "item_id": "i1",
        "type": "view",
        "timestamp": "2026-11-23T10:00:00Z",
        "properties": {"dwell_ms": 1200, "depth": 0.5},
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def body(*events: object) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def codes(*events: object) -> list[tuple[int, str]]:
    return [(r.index, r.code) for r in parse_events(body(*events), NOW).rejected]


def test_a_good_event_becomes_one_row_of_canonical_columns():
    row = parse_events(body(event(session_id="s", surface="home", request_id="r")), NOW).frame
    assert row.columns == list(EVENT_COLUMNS)
    assert row.row(0, named=True) == {
        **dict.fromkeys(EVENT_COLUMNS),
        "event_id": "e1",
        "user_id": "u1",
        "item_id": "i1",
        "type": "view",
        "timestamp": datetime(2026, 11, 23, 10, tzinfo=UTC),
        "session_id": "s",
        "request_id": "r",
        "surface": "home",
        "dwell_ms": 1200,
        "depth": 0.5,
        "synthetic_time": False,
    }


def test_times_with_any_offset_become_utc():
    frame = parse_events(body(event(timestamp="2026-11-23T10:00:00.25+02:00")), NOW).frame
    assert frame["timestamp"][0] == datetime(2026, 11, 23, 8, 0, 0, 250_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"colour": "red"}, "unknown-field", "colour"),
        ({"properties": {"dwel_ms": 1}}, "unknown-field", "properties.dwel_ms"),
        ({"user_id": 5}, "wrong-type", "user_id"),
        ({"user_id": ...}, "missing-field", "user_id"),
        ({"user_id": ""}, "id-empty", "user_id"),
        ({"user_id": "   "}, "id-empty", "user_id"),
        ({"user_id": "x" * 129}, "id-too-long", "user_id"),
        ({"user_id": "a\nb"}, "id-characters", "user_id"),
        ({"event_id": "a\u0000"}, "id-characters", "event_id"),
        ({"session_id": "a\u0085"}, "id-characters", "session_id"),
        ({"user_id": "\ud800"}, "invalid-unicode", "Unicode"),
        ({"type": "stare"}, "unknown-type", "type"),
        ({"timestamp": "2026-11-23T10:00:00"}, "invalid-timestamp", "timestamp"),
        ({"timestamp": 1_700_000_000}, "wrong-type", "timestamp"),
        ({"timestamp": "2026-11-23T12:05:01Z"}, "timestamp-future", "timestamp"),
        ({"timestamp": "1989-12-31T23:59:59Z"}, "timestamp-too-old", "timestamp"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp-too-old", "timestamp"),
        ({"item_id": ...}, "item-missing", "item_id"),
        ({"item_id": None}, "item-missing", "item_id"),
        ({"properties": {"position": 1}}, "property-not-allowed", "position"),
        ({"properties": {"dwell_ms": -1}}, "dwell-ms-range", "dwell_ms"),
        ({"properties": {"dwell_ms": 86_400_001}}, "dwell-ms-range", "dwell_ms"),
        ({"properties": {"dwell_ms": 2**64}}, "out-of-range", "dwell_ms"),
        ({"properties": {"dwell_ms": 1.5}}, "wrong-type", "dwell_ms"),
        ({"properties": {"depth": 1.01}}, "depth-range", "depth"),
        ({"properties": {"depth": float("nan")}}, "wrong-type", "depth"),
        ({"properties": {"depth": float("inf")}}, "wrong-type", "depth"),
        ({"properties": []}, "wrong-type", "properties"),
        ({"type": "click", "properties": {"position": 2**31}}, "position-range", "position"),
        ({"type": "click", "properties": {"position": -1}}, "position-range", "position"),
        ({"type": "purchase", "properties": {"quantity": 0}}, "quantity-range", "quantity"),
        ({"type": "purchase", "properties": {"price": -0.01}}, "price-range", "price"),
        ({"type": "rating", "properties": {"rating": 5.5}}, "rating-range", "rating"),
        ({"type": "rating", "properties": {"rating": 0.5}}, "rating-range", "rating"),
        ({"type": "rating", "properties": {}}, "rating-missing", "rating"),
        ({"type": "review", "properties": {"rating": 4}}, "text-missing", "text"),
        ({"type": "review", "properties": {"text": "<br/>\u0000"}}, "text-missing", "text"),
        ({"type": "review", "properties": {"text": "x" * 50_001}}, "text-too-long", "text"),
        ({"type": "search", "properties": {"query": "lamp"}}, "item-not-allowed", "item_id"),
        ({"type": "search", "item_id": ...}, "query-missing", "query"),
        ({"type": "search", "item_id": ..., "properties": {"query": "\t"}}, "query-missing", "query"),
    ],
)
def test_a_bad_event_is_rejected_alone_with_its_field_named(changes, code, field):
    bad = event(**changes)
    parsed = parse_events(body(event(event_id="before"), bad, event(event_id="after")), NOW)
    assert [(r.index, r.code) for r in parsed.rejected] == [(1, code)]
    assert field in parsed.rejected[0].message
    assert parsed.frame["event_id"].to_list() == ["before", "after"]


@pytest.mark.parametrize("bad", [5, None, "event", [], True])
def test_an_entry_that_is_no_object_is_rejected_alone(bad):
    assert codes(event(), bad) == [(1, "wrong-type")]


def test_limits_themselves_are_allowed():
    good = [
        event(timestamp="2026-11-23T12:05:00Z", properties={"dwell_ms": 86_400_000, "depth": 1}),
        event(timestamp="1990-01-01T00:00:00Z", properties={"dwell_ms": 0, "depth": 0}),
        event(user_id="x" * 128, properties=None),
        event(type="rating", properties={"rating": 1}),
        event(type="rating", properties={"rating": 5}),
        event(type="purchase", properties={"quantity": 1, "price": 0}),
        event(type="search", item_id=None, properties={"query": "lamp"}),
        event(type="impression", properties={"position": 0}),
    ]
    assert codes(*good) == []


@pytest.mark.parametrize("name", ["日本語", "émile", "a b", "🛒", "x\u200dy", "\u202eabc", "'; DROP TABLE events; --"])
def test_ids_may_be_of_any_script(name):
    frame = parse_events(body(event(user_id=name, event_id=name, item_id=name)), NOW).frame
    assert frame.select("user_id", "event_id", "item_id").row(0) == (name, name, name)


def test_review_and_query_texts_are_cleaned():
    frame = parse_events(
        body(
            event(type="review", properties={"text": "<p>Ｇreat&nbsp;&amp; cheap</p><script>x()</script>\u0000"}),
            event(type="search", item_id=None, properties={"query": "  ﬁne\tlamp "}),
        ),
        NOW,
    ).frame
    assert frame["text"][0] == "Great & cheap"
    assert frame["query"][1] == "fine lamp"


def test_decoded_events_are_judged_like_a_body():
    events = [event(), event(user_id="\ud800"), event(type="x"), event(properties={"depth": float("nan")}), 7]
    from_body, from_list = parse_events(body(*events), NOW), parse_events(events, NOW)
    assert from_list.frame.equals(from_body.frame)
    assert [r.index for r in from_list.rejected] == [r.index for r in from_body.rejected] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", MalformedBody),
        (b"{", MalformedBody),
        (b'{"events":[\xff]}', MalformedBody),
        (b'{"events":' + b"[" * 200_000, MalformedBody),
        (b"[]", InvalidInput),
        (b'{"events":5}', InvalidInput),
        (b'{"evnts":[]}', InvalidInput),
        (b'{"events":[]}', InvalidInput),
        (b'{"events":[],"more":1}', InvalidInput),
        (b'{"events":[' + b"1," * 1_000 + b"1]}", InvalidInput),
        (b" " * ((1 << 20) + 1), BodyTooLarge),
    ],
)
def test_a_body_that_holds_no_batch_is_refused_as_a_whole(content, error):
    with pytest.raises(error):
        parse_events(content, NOW)


def test_a_thousand_events_are_accepted_and_one_more_is_not():
    assert parse_events(body(*[event(properties=None)] * 1_000), NOW).frame.height == 1_000
    with pytest.raises(InvalidInput, match="at most 1,000"):
        parse_events(body(*[event(properties=None)] * 1_001), NOW)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TYPES = ["impression", "view", "click", "favourite", "hide", "cart", "purchase", "rating", "review", "search"]
EVENTS = st.fixed_dictionaries(
    {
        "event_id": st.text(max_size=3) | JSON_VALUES,
        "user_id": st.sampled_from(["u", "", " ", "a\x7f", "\u3000", "日"]),
        "type": st.sampled_from([*TYPES, "other"]),
        "timestamp": st.sampled_from(
            ["2026-11-23T12:00:00Z", "2026-11-23T14:05:00+02:00", "2030-01-01T00:00:00Z", "1980-01-01T00:00:00Z", "x"]
        ),
    },
    optional={
        "item_id": st.sampled_from(["i", None, "", "\x01"]),
        "surface": st.sampled_from(["home", None, ""]),
        "properties": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "position": st.integers(-1, 2**33) | st.none(),
                "dwell_ms": st.integers(-1, 2**65) | st.none(),
                "depth": st.floats() | st.integers(-1, 2),
                "quantity": st.integers(-1, 2**33),
                "price": st.floats() | st.integers(),
                "rating": st.floats(0, 6) | st.integers(0, 6),
                "text": st.sampled_from(["good", "", "<b></b>", "a & b", None]),
                "query": st.sampled_from(["lamp", " ", None]),
                "other": st.none(),
            },
        ),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS | JSON_VALUES, min_size=1, max_size=6))
def test_no_batch_of_json_values_raises_anything_unexpected(events):
    parsed = parse_events(body(*events), NOW)
    assert parsed.frame.height + len(parsed.rejected) == len(events)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_unexpected(content):
    with pytest.raises(PortraitError):
        parse_events(content, NOW)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_the_fast_path_accepts_exactly_what_the_checks_accept(events):
    together = parse_events(body(*events), NOW)
    slow = parse_events(body(*events, 5), NOW)  # an entry that is no object sends the batch through the checks
    assert together.frame.equals(slow.frame)
    assert together.rejected == slow.rejected[:-1]


def test_the_clock_is_an_argument():
    late = event(timestamp="2026-11-24T12:00:00Z")
    assert parse_events(body(late), NOW + timedelta(days=1)).rejected == []
