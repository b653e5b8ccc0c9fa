"""The rules on a chunk of items from a file: read, clean, convert, check."""

from collections import Counter
from dataclasses import dataclass

import polars as pl

from services.ingest.event_rules import with_prices
from services.ingest.importers.base import ROW
from services.ingest.item_wire import CLEANED, ITEM_TYPES, clean_items, read_attributes
from services.ingest.outcome import Outcome, split_by_checks
from services.ingest.rules.checks import Check
from services.ingest.rules.columns import readable_checks, typed
from services.ingest.rules.item_checks import item_checks
from services.ingest.rules.names import Rule
from services.ingest.rules.text import changed

LISTS = ("categories", "image_urls", "video_urls")
QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
"""One entry of a JSON or Python list, or of a list that is written without its brackets."""


@dataclass(frozen=True)
class ItemRules:
    """What of the rules depends on the source."""

    list_separator: str = "|"
    zone: str = "UTC"

    def apply(self, raw: pl.DataFrame) -> Outcome:
        """Canonical, valid rows of a chunk (columns of `ITEM_TYPES` and `ROW`) and what was rejected."""
        counts: Counter[Rule] = Counter()
        frame = with_prices(raw, counts) if raw.schema.get("price") == pl.String else raw
        for name in LISTS:
            if frame.schema.get(name) == pl.String:
                frame = frame.with_columns(parse_list(pl.col(name), self.list_separator))
        frame = typed(frame, ITEM_TYPES, self.zone)
        before = frame.select(CLEANED)
        frame = clean_items(_with_attributes(frame))
        counts[Rule.TEXT_CLEANED] += sum(changed(before[name], frame[name]) for name in CLEANED)
        checks = [*readable_checks(frame, ITEM_TYPES), _attributes_check(), *item_checks()]
        kept, rejects = split_by_checks(frame, raw, checks)
        return Outcome(kept.select(ROW, *ITEM_TYPES), rejects, +counts)


def parse_list(text: pl.Expr, separator: str) -> pl.Expr:
    """A list from a cell: quoted entries ('a', 'b' or ["a", "b"]), otherwise split at `separator`."""
    stripped = text.str.strip_chars()
    entries = stripped.str.extract_all(QUOTED)
    entry = pl.element()
    unquoted = entries.list.eval(entry.str.slice(1, entry.str.len_chars() - 2).str.replace_all(r"\\(.)", "$1"))
    split = stripped.str.split(separator).list.eval(entry.str.strip_chars().replace("", None).drop_nulls())
    return (
        pl.when(stripped.str.contains(r"""^\[?\s*["']""") & stripped.str.contains(r"""["']\s*\]?$"""))
        .then(unquoted)
        .when(stripped.is_in(["", "[]"]))
        .then(pl.lit([], dtype=pl.List(pl.String)))
        .otherwise(split)
    )


def _with_attributes(frame: pl.DataFrame) -> pl.DataFrame:
    """Attributes that a file gives as JSON text are parsed and written again: only objects of plain values pass."""
    given = frame["attributes"].is_not_null() & (frame["attributes"] != "{}")
    if not given.any():
        return frame.with_columns(attributes=pl.lit("{}"), bad_attributes=pl.lit(False))
    written = [read_attributes(text) for text in frame["attributes"].filter(given)]
    values = frame["attributes"].scatter(given.arg_true(), pl.Series(written, dtype=pl.String))
    return frame.with_columns(values.alias("attributes"), (given & values.is_null()).alias("bad_attributes"))


def _attributes_check() -> Check:
    message = 'attributes is no JSON object of plain values or lists of them: write {"colour": "red", "sizes": [1, 2]}'
    return Check(Rule.MALFORMED, "wrong-type", message, pl.col("bad_attributes"))
