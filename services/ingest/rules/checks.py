"""Checks on columns: a condition that must not hold, its code, and the sentence that says what to do."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from services.ingest.rules.limits import ID_LENGTH
from services.ingest.rules.names import Rule

CONTROL_CHARACTERS = r"\p{Cc}"


@dataclass(frozen=True)
class Check:
    """`fails` is true for the rows that break the rule (null counts as holding)."""

    rule: Rule
    code: str
    message: str
    fails: pl.Expr


def first_failures(frame: pl.DataFrame, checks: Sequence[Check]) -> pl.Series:
    """Index of the first check that each row fails, null where all hold (UInt32, one value a row)."""
    failing = frame.select(check.fails.fill_null(False).alias(str(i)) for i, check in enumerate(checks))
    hit = [i for i, any_row in enumerate(failing.select(pl.all().any()).row(0)) if any_row] if frame.height else []
    if not hit:
        return pl.Series("failure", [None] * frame.height, dtype=pl.UInt32)
    first = [pl.when(pl.col(str(i))).then(pl.lit(i, pl.UInt32)) for i in hit]
    return failing.select(pl.coalesce(first).alias("failure")).to_series()


def id_checks(column: str, *, required: bool = True) -> list[Check]:
    """What every id must be: 1 to 128 characters of any script, no control characters, not blank."""
    value = pl.col(column)
    checks = [
        Check(
            Rule.MALFORMED,
            "id-empty",
            f"{column} is empty: send an id of 1 to {ID_LENGTH} characters",
            value.str.strip_chars() == "",
        ),
        Check(
            Rule.MALFORMED,
            "id-too-long",
            f"{column} is longer than {ID_LENGTH} characters: send a shorter id, such as a hash of it",
            value.str.len_chars() > ID_LENGTH,
        ),
        Check(
            Rule.MALFORMED,
            "id-characters",
            f"{column} holds control characters: send printable characters only",
            value.str.contains(CONTROL_CHARACTERS),
        ),
    ]
    if required:
        message = f"{column} is missing: every row needs one"
        checks.insert(0, Check(Rule.MALFORMED, "missing-field", message, value.is_null()))
    return checks


def too_long(column: str, limit: int) -> Check:
    """A text of at most `limit` characters."""
    message = f"{column} is longer than {limit:,} characters: shorten it"
    return Check(Rule.MALFORMED, "text-too-long", message, pl.col(column).str.len_chars() > limit)


def outside(column: str, low: float, high: float, unit: str = "") -> Check:
    """A number in low … high; NaN and infinities are outside."""
    value = pl.col(column)
    message = f"{column} must be between {low:,.12g} and {high:,.12g}{unit}: correct it or leave it out"
    return Check(Rule.IMPOSSIBLE, f"{column.replace('_', '-')}-range", message, ~value.is_between(low, high))
