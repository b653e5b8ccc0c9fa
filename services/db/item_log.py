"""The event log as item engagement reads it: what came in and what left a window between two moments.

All of it is read in the tick's REPEATABLE READ transaction, so that an event is there when the transaction's snapshot
shows it. Events are counted as of a time, so those a little ahead of the clock come in when it reaches them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
from sqlalchemy import Connection

from services.db.copy import copy_batches, copy_out
from services.db.session import raw
from services.db.tail_log import BEGINNING, Snapshot

EVENT_COLUMNS = "user_id, item_id, type, timestamp, position, rating, sentiment"
FEW_EVENTS = 20_000
"""Up to so many new events, each pair of a user and an item is looked up; beyond, the log is joined."""


@dataclass(frozen=True)
class Step:
    """From the events visible in `snapshot` up to time `before` (None: from nothing) to those visible now up to
    `as_of`."""

    snapshot: str
    before: datetime | None
    as_of: datetime

    @property
    def from_nothing(self) -> bool:
        return self.before is None or self.snapshot == BEGINNING


def entering_events(connection: Connection, step: Step) -> Iterator[pa.RecordBatch]:
    """The events to be added, in batches of a few megabytes, in no order; some may lie after `as_of`."""
    _use_indexes(connection, not step.from_nothing)
    query, values = _entering(step, EVENT_COLUMNS)
    yield from copy_batches(connection, query, values)


def leaving_events(connection: Connection, step: Step, windows: Mapping[str, timedelta]) -> Iterator[pa.RecordBatch]:
    """The events that were in a sliding window and are not any more, with the `window` that each left."""
    if step.from_nothing:
        return
    assert step.before is not None
    _use_indexes(connection, True)
    values: dict[str, Any] = {"snapshot": step.snapshot}
    parts = []
    for n, (name, length) in enumerate(windows.items()):
        parts.append(
            f"SELECT {EVENT_COLUMNS}, '{name}' AS window FROM events WHERE item_id IS NOT NULL "
            f"AND timestamp > %(after{n})s AND timestamp <= %(until{n})s "
            "AND pg_visible_in_snapshot(txid, %(snapshot)s::pg_snapshot)"
        )
        values[f"after{n}"] = step.before - length
        values[f"until{n}"] = min(step.as_of - length, step.before)
    yield from copy_batches(connection, " UNION ALL ".join(parts), values)


def new_users(connection: Connection, step: Step, types: Sequence[str], events: int) -> pl.DataFrame:
    """How many users had their first event of these types on an item: `item_id`, `users`.

    `events`: about how many events came in, which decides how earlier ones are looked for.
    """
    entering, values = _entering(step, "user_id, item_id, timestamp", "type = ANY(%(types)s)")
    values["types"] = list(types)
    _use_indexes(connection, not step.from_nothing and events <= FEW_EVENTS)
    if step.from_nothing:
        query = f"""
            SELECT item_id, count(DISTINCT user_id) AS users FROM ({entering}) AS e
            WHERE timestamp <= %(as_of)s GROUP BY 1"""
        return _frame(connection, query, values)
    earlier = """
        SELECT 1 AS found FROM events e WHERE e.user_id = p.user_id AND e.item_id = p.item_id
        AND e.type = ANY(%(types)s) AND e.timestamp <= %(before)s
        AND pg_visible_in_snapshot(e.txid, %(snapshot)s::pg_snapshot)"""
    unseen = f"WHERE NOT EXISTS ({earlier})"
    if events <= FEW_EVENTS:  # a lateral look with a limit is never planned as a join of the whole log
        unseen = f"LEFT JOIN LATERAL ({earlier} LIMIT 1) AS seen ON true WHERE found IS NULL"
    query = f"""
        WITH came AS MATERIALIZED ({entering}), pairs AS MATERIALIZED (
          SELECT DISTINCT user_id, item_id FROM came WHERE timestamp <= %(as_of)s)
        SELECT item_id, count(*) AS users FROM pairs p {unseen} GROUP BY 1"""
    return _frame(connection, query, values)


def events_of_items(connection: Connection, item_ids: Sequence[str], as_of: datetime) -> Iterator[pa.RecordBatch]:
    """All events on these items up to `as_of`, in batches, in no order."""
    query = f"SELECT {EVENT_COLUMNS} FROM events WHERE item_id = ANY(%s) AND timestamp <= %s"
    yield from copy_batches(connection, query, [list(item_ids), as_of])


def users_of_items(
    connection: Connection, item_ids: Sequence[str], as_of: datetime, types: Sequence[str]
) -> pl.DataFrame:
    """How many users have an event of these types on each item: `item_id`, `users`."""
    query = """
        SELECT item_id, count(DISTINCT user_id) AS users FROM events
        WHERE item_id = ANY(%s) AND timestamp <= %s AND type = ANY(%s) GROUP BY 1"""
    return _frame(connection, query, [list(item_ids), as_of, list(types)])


def iter_items_events(
    connection: Connection, snapshot: str, as_of: datetime, *, items_per_chunk: int = 2_000
) -> Iterator[pa.Table]:
    """All events that `snapshot` shows up to `as_of`, whole items at a time."""
    bounds = copy_out(
        connection,
        "SELECT item_id FROM (SELECT item_id, row_number() OVER (ORDER BY item_id) AS n FROM "
        "(SELECT DISTINCT item_id FROM events WHERE item_id IS NOT NULL) AS i) AS numbered "
        "WHERE n %% %(each)s = 0 ORDER BY n",
        {"each": items_per_chunk},
    )["item_id"].to_pylist()
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        query = f"""
            SELECT {EVENT_COLUMNS} FROM events WHERE item_id IS NOT NULL AND timestamp <= %(as_of)s
            AND pg_visible_in_snapshot(txid, %(snapshot)s::pg_snapshot)
            {"" if low is None else "AND item_id > %(low)s"} {"" if high is None else "AND item_id <= %(high)s"}"""
        chunk = copy_out(connection, query, {"as_of": as_of, "snapshot": snapshot, "low": low, "high": high})
        if chunk.num_rows:
            yield chunk


def _entering(step: Step, chosen: str, condition: str = "true") -> tuple[str, dict[str, Any]]:
    """The query of the events that came in, and its values: not visible before, or of a time not reached before.

    New ones are not held to be before `as_of` here: they are few, and are to be found by their transaction.
    """
    select = f"SELECT {chosen} FROM events WHERE item_id IS NOT NULL AND {condition}"
    values: dict[str, Any] = {"as_of": step.as_of, "before": step.before, "snapshot": step.snapshot}
    if step.from_nothing:
        return select, values
    snapshot = Snapshot.parse(step.snapshot)
    values |= {"xmax": str(snapshot.xmax), "in_progress": [str(xid) for xid in snapshot.in_progress]}
    parts = [
        f"{select} AND txid >= %(xmax)s::xid8",
        f"{select} AND timestamp > %(before)s AND timestamp <= %(as_of)s "
        "AND pg_visible_in_snapshot(txid, %(snapshot)s::pg_snapshot)",
    ]
    if snapshot.in_progress:
        parts.append(f"{select} AND txid = ANY(%(in_progress)s::text[]::xid8[])")
    return " UNION ALL ".join(parts), values


def _use_indexes(connection: Connection, only: bool) -> None:
    """What a tick reads is little in a log of any size, but the planner does not know it of events so new."""
    raw(connection).execute(f"SET LOCAL enable_seqscan = {'off' if only else 'on'}")


def _frame(connection: Connection, query: str, values: Any) -> pl.DataFrame:
    return pl.DataFrame(copy_out(connection, query, values)).with_columns(pl.col("users").cast(pl.Float64))
