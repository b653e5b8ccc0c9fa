"""Naming a file's columns."""

import polars as pl
import pytest

from services.core.errors import ImportFailed, InvalidInput
from services.ingest.importers.base import ROW, ImportOptions, Kind
from services.ingest.importers.mapping import mapped, parse_mapping, resolve
from services.ingest.item_rules import parse_list


def test_pairs_may_be_repeated_or_joined_and_names_may_hold_commas():
    assert parse_mapping(["user_id=a,item_id=1", "text=the, review"]) == {
        "user_id": "a",
        "item_id": "1",
        "text": "the, review",
    }


@pytest.mark.parametrize("pair", ["user_id", "user_id=", "colour=red", "=x"])
def test_a_pair_that_maps_nothing_is_refused(pair):
    with pytest.raises(InvalidInput, match="--map"):
        parse_mapping([pair])


def test_our_own_names_need_no_mapping_and_positions_work():
    options = ImportOptions(mapping={"timestamp": "2"}, event_type="view")
    found = resolve(Kind.EVENTS, ["User_ID", "item_id", "when"], options, "f.csv")
    assert found == {"user_id": "User_ID", "item_id": "item_id", "timestamp": "when"}


def test_a_missing_column_is_named_with_what_there_is():
    with pytest.raises(ImportFailed, match="row 1, the header, has no column timestamp, type: it has user_id, x"):
        resolve(Kind.EVENTS, ["user_id", "x"], ImportOptions(), "f.csv")


def test_a_mapping_to_no_column_is_named():
    with pytest.raises(ImportFailed, match="--map user_id=who names no column"):
        resolve(Kind.EVENTS, ["a"], ImportOptions(mapping={"user_id": "who"}), "f.csv")


def test_mapped_attributes_become_one_json_object():
    frame = pl.DataFrame({ROW: [1], "id": ["a"], "name": ["x"], "col": ["red"]})
    found = {"item_id": "id", "title": "name", "attributes.colour": "col"}
    assert mapped(frame, found, ImportOptions(), Kind.ITEMS).row(0, named=True) == {
        ROW: 1,
        "item_id": "a",
        "title": "x",
        "attributes": '{"colour":"red"}',
    }


@pytest.mark.parametrize(
    ("cell", "entries"),
    [
        ("a|b | c", ["a", "b", "c"]),
        ("'Beauty', 'Creams, Gels'", ["Beauty", "Creams, Gels"]),
        ("""'Beauty', "Women's", 'x'""", ["Beauty", "Women's", "x"]),
        ('["a", "b\\"c"]', ["a", 'b"c']),
        ("['a']", ["a"]),
        ("a", ["a"]),
        ("a||b", ["a", "b"]),
        ("[]", []),
        ("", []),
        (None, None),
    ],
)
def test_lists_are_read_from_cells(cell, entries):
    frame = pl.DataFrame({"c": [cell]}, schema={"c": pl.String})
    assert frame.select(parse_list(pl.col("c"), "|")).to_series().to_list() == [entries]
