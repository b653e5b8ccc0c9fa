"""The event log: accept events exactly once, read them back, erase them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection

from services.core.columns import EVENT_COLUMNS, EVENT_ID, ITEM_ID, TIMESTAMP, USER_ID
from services.db.consent import of_consenting
from services.db.copy import Table, as_frame, copy_batches, copy_in, copy_out
from services.db.event_keys import event_key, event_keys
from services.db.event_lines import EVENT_KEY
from services.db.event_store import insert_keys
from services.db.pending import Reason, enqueue
from services.db.session import raw

STORED_COLUMNS: tuple[str, ...] = (*EVENT_COLUMNS, "sentiment", "received_at", "txid", "sequence")
"""What `read_events` can return."""

ADVISORY_CLASS = 0x6576  # "ev"
IMPORT_LOCK = 1


@dataclass(frozen=True)
class InsertCounts:
    """What became of a batch. `unknown_items` counts accepted events whose item is not in the catalogue (yet)."""

    accepted: int = 0
    duplicates: int = 0
    unknown_items: int = 0

    def __add__(self, other: "InsertCounts") -> "InsertCounts":
        return InsertCounts(
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.unknown_items + other.unknown_items,
        )


def insert_events(connection: Connection, rows: Table) -> InsertCounts:
    """Store the events whose `event_id` is new; nothing happens for those already stored.

    `rows` has the columns of `EVENT_COLUMNS` (optional ones may be absent) and has been validated: see
    `services.ingest`. Of events that share an id within the batch the first counts. The key of an event is written
    first, in key order, so that concurrent batches wait for each other instead of counting twice or deadlocking;
    then the new rows go straight into their partitions through COPY. All in the caller's transaction.
    """
    frame = as_frame(rows)
    if frame.is_empty():
        return InsertCounts()
    keyed = frame.with_columns(pl.Series(EVENT_KEY, event_keys(frame[EVENT_ID])))
    distinct = keyed.unique(subset=EVENT_KEY, keep="first", maintain_order=True)
    known = insert_keys(connection, distinct[EVENT_KEY], distinct[TIMESTAMP].dt.epoch("us"))
    fresh = distinct if not known else distinct[_complement(known, distinct.height)]
    if fresh.is_empty():
        return InsertCounts(duplicates=frame.height)
    if "synthetic_time" in fresh.columns:
        fresh = fresh.with_columns(pl.col("synthetic_time").fill_null(False))
    # A user's events lie together on the disk, and the user index is filled in order: a tenth less work for the server.
    fresh = fresh.sort(USER_ID, TIMESTAMP, maintain_order=True)
    copy_in(connection, "events", fresh.select(EVENT_KEY, *(c for c in EVENT_COLUMNS if c in fresh.columns)))
    return InsertCounts(fresh.height, frame.height - fresh.height, _count_unknown(connection, fresh))


def lock_imports(connection: Connection) -> None:
    """Wait until no other import is under way, and hold the next ones off until this transaction ends.

    Keys are in order within a batch only, so two long transactions of many batches could deadlock.
    """
    raw(connection).execute("SELECT pg_advisory_xact_lock(%s, %s)", (ADVISORY_CLASS, IMPORT_LOCK))


def read_events(
    connection: Connection,
    *,
    user_ids: Iterable[str] | None = None,
    item_ids: Iterable[str] | None = None,
    types: Iterable[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] = tuple(EVENT_COLUMNS),
    ordered: bool = False,
    consenting: bool = False,
) -> pa.Table:
    """The stored events that match every condition given.

    `since` is inclusive and `until` exclusive, both by event time. `columns` are of `STORED_COLUMNS`. `ordered` sorts
    by (user_id, timestamp, sequence). `consenting` leaves out users who refused personalisation.
    """
    conditions = {
        f"{USER_ID} = ANY(%s)": None if user_ids is None else list(user_ids),
        f"{ITEM_ID} = ANY(%s)": None if item_ids is None else list(item_ids),
        "type = ANY(%s)": None if types is None else [str(t) for t in types],
        f"{TIMESTAMP} >= %s": since,
        f"{TIMESTAMP} < %s": until,
    }
    given = {text: value for text, value in conditions.items() if value is not None}
    wanted = [*given, *([of_consenting("events.user_id")] if consenting else [])]
    return copy_out(connection, _select(columns, wanted, ordered=ordered), list(given.values()))


def iter_event_chunks(
    connection: Connection,
    *,
    users_per_chunk: int = 5_000,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] = tuple(EVENT_COLUMNS),
) -> Iterator[pa.Table]:
    """All events, whole users at a time, sorted by (user_id, timestamp, sequence). Memory: one chunk's events.

    The connection is free between chunks. A user whose first event arrives meanwhile may or may not be seen.
    """
    bounds = _user_bounds(connection, users_per_chunk)
    times = {f"{TIMESTAMP} >= %s": since, f"{TIMESTAMP} < %s": until}
    for low, high in zip([None, *bounds], [*bounds, None], strict=True):
        conditions = {f"{USER_ID} > %s": low, f"{USER_ID} <= %s": high, **times}
        given = {text: value for text, value in conditions.items() if value is not None}
        chunk = copy_out(connection, _select(columns, given, ordered=True), list(given.values()))
        if chunk.num_rows:
            yield chunk


def iter_events_by_time(
    connection: Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] = tuple(EVENT_COLUMNS),
) -> Iterator[pa.RecordBatch]:
    """All events in order of (timestamp, sequence), streamed. The connection is busy until the end."""
    conditions = {f"{TIMESTAMP} >= %s": since, f"{TIMESTAMP} < %s": until}
    given = {text: value for text, value in conditions.items() if value is not None}
    query = sql.SQL("{} ORDER BY timestamp, sequence").format(_select(columns, given))
    yield from copy_batches(connection, query, list(given.values()))


def count_events(connection: Connection) -> int:
    """How many events are stored."""
    return raw(connection).execute("SELECT count(*) FROM events").fetchone()[0]


def delete_event(connection: Connection, event_id: str) -> str | None:
    """Delete one event and free its id. Returns the user, whose portrait the tail makes anew, or None if unknown."""
    key = event_key(event_id)
    found = raw(connection).execute(
        "DELETE FROM event_keys WHERE event_key = encode(%s, 'hex')::uuid RETURNING timestamp", (key,)
    )
    row = found.fetchone()
    if row is None:
        return None
    deleted = raw(connection).execute(
        "DELETE FROM events WHERE event_key = encode(%s, 'hex')::uuid AND timestamp = %s RETURNING user_id",
        (key, row[0]),
    )
    user_id = deleted.fetchone()[0]
    enqueue(connection, [user_id], Reason.REBUILD)
    return user_id


def delete_users_events(connection: Connection, user_ids: Iterable[str], *, this_transaction: bool = False) -> int:
    """Delete the users' events and free their ids. Returns how many there were.

    `this_transaction` spares what was stored before: an import uses it to take back a robot's events, which nobody has
    seen. Otherwise the tail makes the users' portraits anew.
    """
    user_ids = list(user_ids)
    if not this_transaction:
        enqueue(connection, user_ids, Reason.REBUILD)
    only = "AND txid = pg_current_xact_id()" if this_transaction else ""
    statement = f"""
        WITH gone AS (DELETE FROM events WHERE user_id = ANY(%s) {only} RETURNING event_key)
        DELETE FROM event_keys USING gone WHERE event_keys.event_key = gone.event_key"""
    return raw(connection).execute(statement, (user_ids,)).rowcount


def _complement(rows: list[int], height: int) -> pl.Series:
    taken = pl.Series(rows, dtype=pl.Int64)
    everything = pl.int_range(height, dtype=pl.Int64, eager=True)
    return everything.filter(~everything.is_in(taken.implode()))


def _count_unknown(connection: Connection, fresh: pl.DataFrame) -> int:
    if ITEM_ID not in fresh.columns:
        return 0
    counts = fresh.lazy().filter(pl.col(ITEM_ID).is_not_null()).group_by(ITEM_ID).len().collect()
    statement = """
        SELECT coalesce(sum(n), 0)::bigint FROM unnest(%s::text[], %s::bigint[]) AS seen (item_id, n)
        WHERE NOT EXISTS (SELECT FROM items WHERE items.item_id = seen.item_id)"""
    return raw(connection).execute(statement, (counts[ITEM_ID].to_list(), counts["len"].to_list())).fetchone()[0]


def _select(columns: Sequence[str], conditions: Iterable[str], *, ordered: bool = False) -> sql.Composed:
    where = " AND ".join(conditions)
    return sql.SQL("SELECT {} FROM events{}{}").format(
        sql.SQL(", ").join(sql.Identifier(column) for column in columns),
        sql.SQL(" WHERE " + where if where else ""),
        sql.SQL(" ORDER BY user_id, timestamp, sequence" if ordered else ""),
    )


def _user_bounds(connection: Connection, users_per_chunk: int) -> list[str]:
    """Each `users_per_chunk`-th user id, in the server's order."""
    statement = """
        SELECT user_id FROM (
          SELECT user_id, row_number() OVER (ORDER BY user_id) AS n FROM (SELECT DISTINCT user_id FROM events) AS u
        ) AS numbered WHERE n %% %s = 0 ORDER BY n"""
    return [row[0] for row in raw(connection).execute(statement, (users_per_chunk,))]
