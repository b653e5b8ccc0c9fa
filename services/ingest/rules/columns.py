"""From a file's columns, as text or typed, to columns of the canonical types; what cannot be read is remembered."""

from collections.abc import Mapping

import polars as pl

from services.ingest.rules.checks import Check
from services.ingest.rules.names import Rule
from services.ingest.rules.times import parse_time

TRUE = ("true", "t", "yes", "y", "1")
FALSE = ("false", "f", "no", "n", "0")
UNREADABLE = "unreadable:"
"""Prefix of the flag column that says where a value was given and could not be read."""

WANTED: dict[type[pl.DataType] | pl.DataType, str] = {
    pl.Int64: "a whole number",
    pl.Float64: "a number",
    pl.Boolean: "true or false",
    pl.Datetime("us", "UTC"): "a time: epoch seconds or milliseconds, RFC 3339 or a date",
}


def typed(frame: pl.DataFrame, types: Mapping[str, pl.DataType], zone: str = "UTC") -> pl.DataFrame:
    """All columns of `types` in those types (null where the file has none); other columns are kept.

    For every column that was given and needed reading there is a flag column `unreadable:NAME`.
    """
    expressions = []
    for name, wanted in types.items():
        if name not in frame.columns:
            expressions.append(pl.lit(None, dtype=wanted).alias(name))
            continue
        given = frame.schema[name]
        if given == wanted and wanted != pl.String:
            continue
        value = read_as(name, given, wanted, zone).alias(name)
        expressions.append(value)
        if wanted != pl.String and given != pl.Null:
            expressions.append((_given(name, given) & value.is_null()).alias(UNREADABLE + name))
    return frame.with_columns(expressions)


def readable_checks(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> list[Check]:
    """A check for every flag column of `typed`."""
    checks = []
    for name, dtype in types.items():
        if UNREADABLE + name in frame.columns:
            code = "invalid-timestamp" if isinstance(dtype, pl.Datetime) else "wrong-type"
            message = f"{name} is not {WANTED.get(dtype, 'of its type')}: correct it"
            checks.append(Check(Rule.MALFORMED, code, message, pl.col(UNREADABLE + name)))
    return checks


def read_as(name: str, given: pl.DataType, wanted: pl.DataType, zone: str) -> pl.Expr:
    """The column in type `wanted`; null where it cannot be read."""
    column = pl.col(name)
    if given == pl.Null:
        return pl.lit(None, dtype=wanted)
    if isinstance(wanted, pl.Datetime):
        return parse_time(name, given, zone)
    if wanted == pl.String:
        return _text(column, given)
    if wanted == pl.Boolean:
        return _boolean(_text(column, given), given, column)
    number = column.cast(pl.String).str.strip_chars() if not given.is_numeric() else column
    if wanted == pl.Int64:
        exact = number.cast(pl.Int64, strict=False)
        if given.is_integer():
            return exact
        real = number.cast(pl.Float64, strict=False)
        whole = pl.when(real == real.round()).then(real).cast(pl.Int64, strict=False)
        return whole if given.is_float() else pl.coalesce(exact, whole)
    return number.cast(wanted, strict=False)


def _given(name: str, given: pl.DataType) -> pl.Expr:
    present = pl.col(name).is_not_null()
    return present & (pl.col(name).str.strip_chars() != "") if given == pl.String else present


def _text(column: pl.Expr, given: pl.DataType) -> pl.Expr:
    """Text; an empty one is no value. A whole number that was read as a float (3.0) is written without its point."""
    if given.is_float():
        whole = column.cast(pl.Int64, strict=False)
        return pl.when(column == whole).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    text = column.cast(pl.String)
    return pl.when(text != "").then(text)


def _boolean(text: pl.Expr, given: pl.DataType, column: pl.Expr) -> pl.Expr:
    if given == pl.Boolean:
        return column
    lowered = text.str.strip_chars().str.to_lowercase()
    return pl.when(lowered.is_in(TRUE)).then(True).when(lowered.is_in(FALSE)).then(False)
