"""Users' purchase sequences: a line holds a user, then items in order.

There are no times: they are made up, and every event says so.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl

from services.core.clock import utc_now
from services.core.types import EventType
from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind, Unreadable
from services.ingest.importers.lines import decode_lines, read_blocks
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

POSITION = "order"
MICROS_A_DAY = 86_400_000_000
BLOCK_BYTES = 1 << 19
"""Small blocks: a kilobyte of a line holds a hundred events."""


class UserSequences:
    """Each item becomes a purchase. A user's last one is at `--until` (the start of today, UTC), the one before it a
    day earlier, and so on; every event is flagged `synthetic_time`. Ids do not depend on the made-up times."""

    format = "user-sequences"
    kind = Kind.EVENTS
    description = "a line a user: user, then items in order of purchase; times are made up and flagged"
    rating_scale = RatingScale()
    identity = ("user_id", "item_id", POSITION)

    def recognises(self, head: Head) -> bool:
        lines = [line.split() for line in head.lines[:5]]
        if any(mark in head.lines[0] for mark in ("{", ",", "\t", "::")):
            return False
        return all(len(words) >= 2 for words in lines) and any(len(words) > 2 for words in lines)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        until = options.until or start_of_day(utc_now())
        kind = options.event_type or EventType.PURCHASE
        for block in read_blocks(source, block_bytes=BLOCK_BYTES):
            lines = pl.DataFrame({"line": decode_lines(source, block, options.encoding or "utf-8")})
            lines = lines.with_row_index(ROW, offset=block.first).with_columns(pl.col(ROW).cast(pl.Int64))
            lines = lines.with_columns(pl.col("line").str.strip_chars().str.replace_all(r"\s+", " "))
            lines = lines.filter(pl.col("line") != "")
            words = pl.col("line").str.split(" ")
            alone = lines.filter(words.list.len() < 2)
            message = "the line holds a user and no item: write the user, then items, separated by spaces"
            unreadable = [Unreadable(row, message, line[:1000]) for row, line in alone.select(ROW, "line").iter_rows()]
            frame = _events(lines.filter(words.list.len() >= 2), until, kind)
            yield Chunk(frame, block.first + len(block.lines) - 1, unreadable)


def start_of_day(now: datetime) -> datetime:
    """Midnight (UTC) of the day of `now`."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _events(lines: pl.DataFrame, until: datetime, kind: str) -> pl.DataFrame:
    words = lines.select(ROW, words=pl.col("line").str.split(" "))
    counted = words.select(
        ROW,
        user_id=pl.col("words").list.first(),
        item_id=pl.col("words").list.slice(1),
        count=pl.col("words").list.len().cast(pl.Int64) - 1,
    )
    items = counted.with_columns(pl.int_ranges(0, "count").alias(POSITION)).explode(
        "item_id", POSITION, empty_as_null=True
    )
    days_before = pl.col("count") - 1 - pl.col(POSITION)
    return items.select(
        ROW,
        "user_id",
        "item_id",
        POSITION,
        pl.lit(str(kind)).alias("type"),
        (pl.lit(until).dt.convert_time_zone("UTC").dt.epoch("us") - days_before * MICROS_A_DAY)
        .cast(pl.Datetime("us", "UTC"))
        .alias("timestamp"),
        pl.lit(True).alias("synthetic_time"),
    )
