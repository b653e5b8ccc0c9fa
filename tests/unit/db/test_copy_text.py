"""The text that COPY is given, column by column."""

from datetime import datetime

import polars as pl
import pytest

from services.core.errors import InvalidInput
from services.db.copy import copy_text


def text(values: list[object], dtype: pl.DataType) -> list[object]:
    return copy_text(pl.DataFrame({"v": pl.Series(values, dtype=dtype)}))["v"].to_list()


def test_what_copy_would_misread_is_escaped():
    assert text(["a\tb", "c\nd", "e\\N", "\\.", "f\r", "", None], pl.String) == [
        "a\\tb",
        "c\\nd",
        "e\\\\N",
        "\\\\.",
        "f\\r",
        "",
        None,
    ]


def test_lists_become_array_literals():
    assert text([["a,b", 'q"', "n\\", None, "NULL"], [], None], pl.List(pl.String)) == [
        '{"a,b","q\\\\"","n\\\\\\\\",NULL,"NULL"}',
        "{}",
        None,
    ]
    assert text([[1, None, 3]], pl.List(pl.Int64)) == ["{1,NULL,3}"]


def test_bytes_become_hexadecimal():
    assert text([b"\x00\xff", None], pl.Binary) == ["\\\\x00ff", None]


def test_structs_become_json():
    assert text([{"a": 1, "b": "x"}], pl.Struct({"a": pl.Int64, "b": pl.String})) == ['{"a":1,"b":"x"}']


def test_naive_times_are_utc():
    assert copy_text(pl.DataFrame({"t": [datetime(2024, 1, 1)]})).schema["t"] == pl.Datetime("us", "UTC")


def test_a_nul_character_is_named_before_the_server_sees_it():
    with pytest.raises(InvalidInput, match="v holds a NUL"):
        text(["a\0b"], pl.String)
