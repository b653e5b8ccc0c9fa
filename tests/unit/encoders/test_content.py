"""The encoded text of an item is bounded and stable, and its hash changes with content or encoder."""

import pytest

from services.encoders.content import TEXT_CHARACTERS, content_hash, content_hashes, item_text, item_texts


def test_the_title_comes_first_and_the_brand_is_not_said_twice() -> None:
    text = item_text("Xtreme  Brite gel", "xtreme brite", ["Beauty", "Hair Care", "Beauty"], " Holds\nwell ", None)
    assert text == "Xtreme Brite gel. Beauty > Hair Care. Holds well"


def test_attributes_come_in_the_order_of_their_keys() -> None:
    attributes = {"size": 38, "colour": ["red", "navy"], "vegan": True, "sale": False, "note": None, "blob": "x" * 900}
    expected = "Shoe. Acme. colour red, navy; size 38; vegan"
    assert item_text("Shoe", "Acme", [], None, attributes) == expected
    assert item_text("Shoe", "Acme", [], None, dict(reversed(attributes.items()))) == expected


def test_a_long_description_never_displaces_what_is_in_front() -> None:
    text = item_text("T" * 10_000, "Brand", ["Category"], "word " * 10_000, {"a": 1})
    assert len(text) <= TEXT_CHARACTERS
    assert "Brand. Category. a 1. word" in text


def test_an_item_without_text_has_none() -> None:
    assert item_text("", None, None, None, None) == ""
    assert item_texts([], [], [], [], []) == []


def test_columns_give_the_same_texts_as_rows() -> None:
    found = item_texts(["a", "b"], ["x", None], [["c"], None], [None, "d"], [None, {"k": 1}])
    assert found == [item_text("a", "x", ["c"]), item_text("b", description="d", attributes={"k": 1})]
    with pytest.raises(ValueError, match="shorter"):
        item_texts(["a", "b"], ["x"], [None, None], [None, None], [None, None])


def test_the_hash_changes_with_content_and_encoder_alone() -> None:
    first = content_hash("minilm-1", "red shoe")
    assert len(first) == 16
    assert first == content_hash("minilm-1", "red shoe")
    assert first.hex() == "5b0f97927aa42fe03ff83eae2465338e"
    others = [
        ("minilm-2", "red shoe"),
        ("minilm-1", "red shoes"),
        ("minilm-1red", " shoe"),
        ("minilm-1", "red", " shoe"),
    ]
    assert len({first, *(content_hash(*other) for other in others)}) == 5
    assert content_hash("v", "\ud800") != content_hash("v", "?")


def test_many_contents_hash_as_each_one_does() -> None:
    contents = ["text", ["https://a.test/1.png", "https://a.test/2.png"], [b"\xff\xd8"], []]
    assert content_hashes("v", contents) == [
        content_hash("v", "text"),
        content_hash("v", "https://a.test/1.png", "https://a.test/2.png"),
        content_hash("v", b"\xff\xd8"),
        content_hash("v"),
    ]
