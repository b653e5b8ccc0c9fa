"""Small batches of events as lines of COPY: what frames cost at any length is too much for a hundred rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection

from services.core.columns import EVENT_COLUMNS, EVENT_ID, TIMESTAMP, USER_ID
from services.db.copy import copy_csv, copy_lines_in
from services.db.event_keys import event_keys
from services.db.event_store import insert_keys

EVENT_KEY = "event_key"
LINE_COLUMNS: tuple[str, ...] = (EVENT_KEY, *(c for c in EVENT_COLUMNS if c != "synthetic_time"))
"""The columns of a line, in order."""


@dataclass(frozen=True)
class EventLines:
    """Valid events: keys (32 hexadecimal digits), times (µs since 1970), users, and lines of COPY's text format.

    All four have one entry an event; a line has the columns of `LINE_COLUMNS` and no line break.
    """

    keys: Sequence[str] = ()
    micros: Sequence[int] = ()
    users: Sequence[str] = ()
    lines: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.lines)


def lines_of(frame: pl.DataFrame) -> EventLines:
    """The lines of a frame with the columns of `EVENT_COLUMNS`."""
    if frame.is_empty():
        return EventLines()
    keys = event_keys(frame[EVENT_ID])
    keyed = frame.with_columns(pl.Series(EVENT_KEY, keys)).select(LINE_COLUMNS)
    lines = str(copy_csv(keyed), "utf-8").split("\n")[:-1]
    return EventLines(keys, frame[TIMESTAMP].dt.epoch("us").to_list(), frame[USER_ID].to_list(), lines)


def insert_lines(connection: Connection, batches: Sequence[EventLines], *, lock_ms: int | None = None) -> list[int]:
    """Store the events of several batches whose id is new; returns how many that were, of each batch.

    Of events that share an id the first counts. Everything happens in the caller's transaction, which with `lock_ms`
    waits no longer than that for others' locks.
    """
    keys, micros, users, lines = (
        [value for batch in batches for value in getattr(batch, name)] for name in ("keys", "micros", "users", "lines")
    )
    if not keys:
        return [0] * len(batches)
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    rows = sorted(first.values())
    known = insert_keys(connection, (keys[row] for row in rows), (micros[row] for row in rows), lock_ms=lock_ms)
    fresh = sorted(set(rows) - {rows[place] for place in known}) if known else rows
    if fresh:
        # A user's events lie together on the disk, and the user index is filled in order.
        ordered = sorted(fresh, key=lambda row: (users[row], micros[row]))
        copy_lines_in(connection, "events", LINE_COLUMNS, (lines[row] for row in ordered))
    return list(_per_batch(fresh, [len(batch) for batch in batches]))


def _per_batch(fresh: Iterable[int], sizes: Sequence[int]) -> Iterator[int]:
    """How many of the rows `fresh`, in order, lie in each of the batches that were strung together."""
    taken = set(fresh)
    start = 0
    for size in sizes:
        yield len(taken.intersection(range(start, start + size)))
        start += size
