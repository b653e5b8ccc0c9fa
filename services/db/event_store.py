"""The steps of storing events, whatever form they come in: keys, partitions, the wake-up call."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

from psycopg import errors
from sqlalchemy import Connection

from services.db.session import raw, transaction

CHANNEL = "portrait_events"
"""LISTEN to it to hear of committed events."""

DAY_US = 86_400_000_000
EPOCH = date(1970, 1, 1)


def insert_keys(connection: Connection, keys: Iterable[str], micros: Iterable[int]) -> list[int]:
    """Write the keys of events, which must differ; returns the row numbers of those that were there already.

    In key order and in one statement: batches that share keys wait for each other instead of counting an event twice
    or waiting in a circle. `micros` are the event times in microseconds since 1970.
    """
    statement = """
        WITH batch AS MATERIALIZED (
          SELECT event_key, timestamptz 'epoch' + micros * interval '1 microsecond' AS timestamp, row
          FROM unnest(%s::uuid[], %s::bigint[]) WITH ORDINALITY AS b (event_key, micros, row)),
        fresh AS (
          INSERT INTO event_keys SELECT event_key, timestamp FROM batch ORDER BY event_key
          ON CONFLICT DO NOTHING RETURNING event_key)
        SELECT array_agg(row - 1) FROM batch WHERE event_key NOT IN (SELECT event_key FROM fresh)"""
    arrays = ("{" + ",".join(keys) + "}", "{" + ",".join(map(str, micros)) + "}")
    return raw(connection).execute(statement, arrays).fetchone()[0] or []


def months_of(micros: Iterable[int]) -> list[datetime]:
    """The first moments of the months (UTC) that these times lie in."""
    days = {EPOCH + timedelta(days=day) for day in {time // DAY_US for time in micros}}
    return sorted({datetime(day.year, day.month, 1, tzinfo=UTC) for day in days})


def ensure_partitions(connection: Connection, months: Sequence[datetime]) -> None:
    """Make the months' partitions where they are missing, in a transaction of their own.

    A partition made in a long transaction, such as an import's, would make every other sender of that month wait for
    its end. Asked each time: a remembered answer could have been dropped by a retention job.
    """
    missing = raw(connection).execute(
        "SELECT array_agg(month) FROM unnest(%s::timestamptz[]) AS month "
        "WHERE to_regclass('events_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL",
        (list(months),),
    )
    absent = missing.fetchone()[0]
    if not absent:
        return
    try:
        with transaction(connection.engine) as own:
            raw(own).execute("SET LOCAL lock_timeout = '2s'")
            _make_partitions(own, absent)
    except errors.LockNotAvailable:
        _make_partitions(connection, absent)  # this very transaction has locked the table: only it can


def announce(connection: Connection) -> None:
    """Wake whoever follows the event log, once this transaction is committed."""
    raw(connection).execute("SELECT pg_notify(%s, '')", (CHANNEL,))


def _make_partitions(connection: Connection, months: Sequence[datetime]) -> None:
    raw(connection).execute(
        "SELECT ensure_event_partition(month) FROM unnest(%s::timestamptz[]) AS month", (list(months),)
    )
