"""The rules on a chunk of events from a file: read, clean, convert, identify, check."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from services.core.columns import EVENT_ID, TIMESTAMP
from services.ingest.event_wire import WIDE
from services.ingest.importers.base import ROW
from services.ingest.outcome import Outcome, split_by_checks
from services.ingest.rules.checks import Check
from services.ingest.rules.columns import readable_checks, typed
from services.ingest.rules.event_checks import event_checks
from services.ingest.rules.names import Rule
from services.ingest.rules.prices import parse_price
from services.ingest.rules.ratings import RatingScale
from services.ingest.rules.text import changed, clean_text

EVENT_TYPES: dict[str, pl.DataType] = {
    EVENT_ID: pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "type": pl.String,
    TIMESTAMP: pl.Datetime("us", "UTC"),
    "session_id": pl.String,
    "request_id": pl.String,
    "surface": pl.String,
    **WIDE,
    "synthetic_time": pl.Boolean,
}
SEPARATOR = "\x1f"
ABSENT = "\x00"


@dataclass(frozen=True)
class EventRules:
    """What of the rules depends on the source. `identity` are the columns that make an id where there is none."""

    source: str
    now: datetime
    scale: RatingScale
    identity: tuple[str, ...] = ()
    zone: str = "UTC"

    def apply(self, raw: pl.DataFrame) -> Outcome:
        """Canonical, valid rows of a chunk (columns of `EVENT_TYPES` and `ROW`) and what was rejected."""
        counts: Counter[Rule] = Counter()
        frame = _with_prices(raw, counts)
        frame = typed(frame, EVENT_TYPES, self.zone)
        _count_times(raw, frame, counts)
        checks = [*readable_checks(frame, EVENT_TYPES), *self._checks()]
        for name in ("text", "query"):
            cleaned = clean_text(frame[name])
            counts[Rule.TEXT_CLEANED] += changed(frame[name], cleaned)
            frame = frame.with_columns(cleaned)
        if not self.scale.canonical:
            counts[Rule.RATING_RESCALED] += frame["rating"].count()
            frame = frame.with_columns(self.scale.rescale(pl.col("rating")))
        frame = self._identified(frame)
        kept, rejects = split_by_checks(frame, raw, checks)
        return Outcome(kept.select(ROW, *EVENT_TYPES), rejects, +counts)

    def _checks(self) -> list[Check]:
        return event_checks(self.now)

    def _identified(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Give rows without an id one made of their content: the same row has the same id in every import."""
        without = frame[EVENT_ID].is_null()
        if not without.any():
            return frame.with_columns(pl.col("synthetic_time").fill_null(False))
        names = self.identity or [name for name in EVENT_TYPES if name not in (EVENT_ID, "synthetic_time")]
        parts = [
            (pl.col(name).dt.epoch("us") if name == TIMESTAMP else pl.col(name)).cast(pl.String).fill_null(ABSENT)
            for name in names
        ]
        contents = frame.filter(without).select(pl.concat_str(parts, separator=SEPARATOR)).to_series()
        prefix = f"{self.source}:"
        ids = [prefix + hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in contents]
        made = frame[EVENT_ID].scatter(without.arg_true(), pl.Series(ids, dtype=pl.String))
        return frame.with_columns(made, pl.col("synthetic_time").fill_null(False))


def _with_prices(raw: pl.DataFrame, counts: Counter[Rule]) -> pl.DataFrame:
    return with_prices(raw, counts) if raw.schema.get("price") == pl.String else raw


def with_prices(raw: pl.DataFrame, counts: Counter[Rule]) -> pl.DataFrame:
    """Price texts as numbers. What is no price is left out and counted: the row is good without it."""
    text = raw["price"].str.strip_chars()
    price = raw.select(parse_price(pl.col("price"))).to_series().alias("price")
    plain = text.cast(pl.Float64, strict=False).is_not_null()
    given = text.is_not_null() & (text != "")
    counts[Rule.PRICE_UNREADABLE] += int((given & price.is_null()).sum())
    counts[Rule.PRICE_PARSED] += int((price.is_not_null() & ~plain).sum())
    return raw.with_columns(price)


def _count_times(raw: pl.DataFrame, frame: pl.DataFrame, counts: Counter[Rule]) -> None:
    if TIMESTAMP in raw.columns and raw.schema[TIMESTAMP] != EVENT_TYPES[TIMESTAMP]:
        counts[Rule.TIME_CONVERTED] += frame[TIMESTAMP].count()
    counts[Rule.TIME_SYNTHETIC] += int(frame["synthetic_time"].sum() or 0)
