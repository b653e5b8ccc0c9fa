"""What the rules make of a chunk of a file."""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from services.ingest.importers.base import ROW, Unreadable
from services.ingest.rules.checks import Check, first_failures
from services.ingest.rules.names import Rule

ORIGINAL_LENGTH = 1_000
REJECT_SCHEMA = {
    ROW: pl.Int64,
    "rule": pl.String,
    "code": pl.String,
    "message": pl.String,
    "original": pl.String,
}


@dataclass(frozen=True)
class Outcome:
    """`frame`: rows to store, with `ROW`. `rejects`: columns of `REJECT_SCHEMA`. `changed`: rule to count."""

    frame: pl.DataFrame
    rejects: pl.DataFrame
    changed: Counter[Rule] = field(default_factory=Counter)


def split_by_checks(
    frame: pl.DataFrame, original: pl.DataFrame, checks: list[Check]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(rows that pass, rejects). `original` has the same rows as the file gave them."""
    failures = first_failures(frame, checks)
    failed = failures.is_not_null()
    if not failed.any():
        return frame, pl.DataFrame(schema=REJECT_SCHEMA)
    index = failures.filter(failed)
    told = pl.DataFrame(
        {
            "rule": [str(check.rule) for check in checks],
            "code": [check.code for check in checks],
            "message": [check.message for check in checks],
        }
    )
    rejects = told[index].with_columns(
        frame[ROW].filter(failed), as_original(original.filter(failed)).alias("original")
    )
    return frame.filter(~failed), rejects.select(list(REJECT_SCHEMA))


def unreadable_rejects(unreadable: list[Unreadable]) -> pl.DataFrame:
    """Rejects of the rows that never became columns."""
    rows = [(entry.row, str(Rule.MALFORMED), "unreadable", entry.message, entry.original) for entry in unreadable]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")


def as_original(frame: pl.DataFrame) -> pl.Series:
    """Each row as the file gave it, as JSON without what it left out, bounded in length."""
    fields = [name for name in frame.columns if name != ROW]
    encoded = frame.select(pl.struct(fields).struct.json_encode().alias("original")).to_series()
    return encoded.str.replace_all(r'"[^"]+":null,?', "").str.replace(",}$", "}").str.slice(0, ORIGINAL_LENGTH)
