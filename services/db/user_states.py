"""The states of users' profiles, each the fold of exactly the events that its snapshot shows; and those events."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache

import pyarrow as pa
from psycopg import sql
from sqlalchemy import Connection

from services.db.copy import copy_out
from services.db.profiles import SIGNALS
from services.db.session import raw

STATE_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("totals", pa.binary()),
        ("items", pa.binary()),
        ("item_ids", pa.binary()),
        ("log", pa.binary()),
        ("neighbours", pa.binary()),
        ("snapshot", pa.string()),
        ("reference_version", pa.int32()),
        ("as_of", pa.timestamp("us", tz="UTC")),
    ]
)
"""What `load_states` returns."""

USERS_AT_ONCE = 1_000
"""Users a statement, so that a chunk of large states is never one message."""

WRITTEN = ("totals", "items", "item_ids", "log", "packed")


def current_snapshot(connection: Connection) -> str:
    """The transactions that are visible now, as PostgreSQL writes a snapshot: `xmin:xmax:in,progress`."""
    return raw(connection).execute("SELECT pg_current_snapshot()::text").fetchone()[0]


def load_states(
    connection: Connection, user_ids: Iterable[str], *, lock: bool = True, skip_locked: bool = False
) -> pa.Table:
    """The stored states of those of the users who have one, with the columns of `STATE_SCHEMA`, by user id.

    `lock` keeps other writers of these states off until the transaction ends; `skip_locked` leaves out those that
    another writer holds instead of waiting for it.
    """
    return loading_states(connection, user_ids, lock=lock, skip_locked=skip_locked)()


def loading_states(
    connection: Connection, user_ids: Iterable[str], *, lock: bool = True, skip_locked: bool = False
) -> Callable[[], pa.Table]:
    """Ask as `load_states` does; what is returned gives the answer, which in a pipeline comes with that to other
    questions."""
    columns = "user_id, totals, items, item_ids, log, neighbours, snapshot::text, reference_version, as_of"
    locking = f"FOR UPDATE{' SKIP LOCKED' if skip_locked else ''}" if lock else ""
    statement = f"SELECT {columns} FROM user_states WHERE user_id = ANY(%s) ORDER BY user_id {locking}"
    cursor = raw(connection).cursor(binary=True)
    cursor.execute(statement, (list(user_ids),))

    def answer() -> pa.Table:
        rows = cursor.fetchall()
        values = zip(*rows, strict=True) if rows else [()] * len(STATE_SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(values, STATE_SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=STATE_SCHEMA)

    return answer


def existing_states(connection: Connection, user_ids: Iterable[str]) -> set[str]:
    """Those of the users who have a state, whether or not another writer holds it."""
    statement = "SELECT user_id FROM user_states WHERE user_id = ANY(%s)"
    return {row[0] for row in raw(connection).execute(statement, (list(user_ids),))}


def load_packed(connection: Connection, user_ids: Iterable[str]) -> list[tuple[str, datetime, bytes]]:
    """(user id, as of, packed portrait) of those of the users who have a state."""
    statement = "SELECT user_id, as_of, packed FROM user_states WHERE user_id = ANY(%s) ORDER BY user_id"
    with raw(connection).cursor(binary=True) as cursor:
        return cursor.execute(statement, (list(user_ids),)).fetchall()


def write_states(connection: Connection, table: pa.Table, snapshot: str, *, neighbours: bool) -> set[str]:
    """Store states that are the fold of all the users' events visible in `snapshot`. Returns whose were stored.

    `table` has `user_id`, `totals`, `items`, `item_ids`, `log`, `packed`, `reference_version`, `as_of`, and
    `neighbours` where that is to be written too (also of users whose state is not); otherwise the stored ones are left
    alone. A state of a later snapshot is never replaced by one of an earlier: it holds more. Nor is a later portrait by
    an earlier one: the online store would not take it.
    """
    stored: set[str] = set()
    for part in _slices(table):
        of_part = writing_states(connection, part, snapshot, neighbours=neighbours)()
        if neighbours and len(of_part) < part.num_rows:
            _write_neighbours(connection, part)
        stored |= of_part
    return stored


def writing_states(
    connection: Connection, table: pa.Table, snapshot: str, *, neighbours: bool = False
) -> Callable[[], set[str]]:
    """Store as `write_states` does, but for neighbours of users whose state is not stored; what is returned gives the
    answer, which in a pipeline comes with that to other questions."""
    written, statement = _writing(neighbours)
    names = ("user_id", *written, "reference_version", "as_of")
    cursors = [
        raw(connection).execute(statement, (snapshot, *(part.column(name).to_pylist() for name in names)))
        for part in _slices(table)
    ]
    return lambda: {row[0] for cursor in cursors for row in cursor.fetchall()}


@cache
def _writing(neighbours: bool) -> tuple[tuple[str, ...], bytes]:
    """The columns that are written besides the user, reference and time, and the statement, put together once."""
    written = (*WRITTEN, "neighbours") if neighbours else WRITTEN
    names = sql.SQL(", ").join(map(sql.Identifier, written))
    statement = sql.SQL(
        """
        INSERT INTO user_states AS old (user_id, {names}, reference_version, as_of, snapshot)
        SELECT user_id, {names}, reference_version, as_of, %b::text::pg_snapshot
        FROM unnest(%b::text[], {arrays}, %b::int[], %b::timestamptz[])
          AS new (user_id, {names}, reference_version, as_of) ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE SET {sets}, reference_version = excluded.reference_version,
          as_of = excluded.as_of, snapshot = excluded.snapshot, updated_at = clock_timestamp()
        WHERE old.as_of <= excluded.as_of AND (
          pg_snapshot_xmax(old.snapshot) < pg_snapshot_xmax(excluded.snapshot)
          OR pg_snapshot_xmax(old.snapshot) = pg_snapshot_xmax(excluded.snapshot)
          AND (SELECT count(*) FROM pg_snapshot_xip(old.snapshot))
            >= (SELECT count(*) FROM pg_snapshot_xip(excluded.snapshot)))
        RETURNING user_id"""
    ).format(
        names=names,
        arrays=sql.SQL(", ").join([sql.SQL("%b::bytea[]")] * len(written)),
        sets=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in written),
    )
    return written, statement.as_bytes()


def write_read_outs(connection: Connection, table: pa.Table) -> set[str]:
    """Store portraits that were read out of stored states, which stay as they are. Returns whose were stored.

    `table` has `user_id`, the `snapshot` of the state that was read, `packed`, `neighbours` and `as_of`. A portrait of
    a state that has moved on since, or with a later portrait, keeps that; neighbours are stored all the same.
    """
    statement = """
        WITH new AS (
          SELECT * FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::bytea[], %b::timestamptz[])
            AS n (user_id, snapshot, packed, neighbours, as_of)),
        held AS (
          SELECT n.*, s.snapshot::text = n.snapshot AND s.as_of <= n.as_of AS same
          FROM user_states AS s JOIN new AS n USING (user_id) ORDER BY s.user_id FOR UPDATE OF s),
        done AS (
          UPDATE user_states AS s SET neighbours = h.neighbours,
            packed = CASE WHEN h.same THEN h.packed ELSE s.packed END,
            as_of = CASE WHEN h.same THEN h.as_of ELSE s.as_of END,
            updated_at = CASE WHEN h.same THEN clock_timestamp() ELSE s.updated_at END
          FROM held AS h WHERE s.user_id = h.user_id RETURNING h.user_id, h.same)
        SELECT user_id FROM done WHERE same"""
    names = ("user_id", "snapshot", "packed", "neighbours", "as_of")
    stored: set[str] = set()
    for part in _slices(table):
        rows = raw(connection).execute(statement, [part.column(name).to_pylist() for name in names])
        stored.update(row[0] for row in rows)
    return stored


def delete_states(connection: Connection, user_ids: Iterable[str]) -> int:
    """Forget the users' states. Returns how many there were."""
    return raw(connection).execute("DELETE FROM user_states WHERE user_id = ANY(%s)", (list(user_ids),)).rowcount


def read_visible(connection: Connection, user_ids: Iterable[str], snapshot: str, columns: Sequence[str]) -> pa.Table:
    """The users' events that say something of them and are visible in `snapshot`, in order of (user_id, timestamp,
    sequence). `columns` are of `services.db.events.STORED_COLUMNS`."""
    query = sql.SQL(
        "SELECT {} FROM events WHERE user_id = ANY(%s) AND type = ANY(%s) "
        "AND pg_visible_in_snapshot(txid, %s::pg_snapshot) ORDER BY user_id, timestamp, sequence"
    ).format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    return copy_out(connection, query, [list(user_ids), list(SIGNALS), snapshot])


def _write_neighbours(connection: Connection, table: pa.Table) -> None:
    statement = (
        "UPDATE user_states AS s SET neighbours = n.neighbours "
        "FROM unnest(%b::text[], %b::bytea[]) AS n (user_id, neighbours) WHERE s.user_id = n.user_id"
    )
    columns = (table.column("user_id").to_pylist(), table.column("neighbours").to_pylist())
    raw(connection).execute(statement, columns)


def _slices(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, USERS_AT_ONCE):
        yield table.slice(start, USERS_AT_ONCE)
