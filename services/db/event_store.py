"""What comes before storing events, whatever form they come in: keys, partitions, the wake-up call."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from psycopg import errors
from sqlalchemy import Connection

from services.db.session import raw, transaction

CHANNEL = "portrait_events"
"""LISTEN to it to hear of committed events."""


def insert_keys(
    connection: Connection, keys: Iterable[str], micros: Iterable[int], *, lock_ms: int | None = None
) -> list[int]:
    """Write the keys of events, which must differ; returns the row numbers of those that were there already.

    In key order and in one statement: batches that share keys wait for each other instead of counting an event twice
    or waiting in a circle. `micros` are the event times in microseconds since 1970. The months' partitions are there
    afterwards, and whoever follows the event log is woken once this transaction is committed: all in one round trip.
    With `lock_ms`, this transaction waits no longer than that for others' locks.
    """
    statement = """
        WITH batch AS MATERIALIZED (
          SELECT event_key, timestamptz 'epoch' + micros * interval '1 microsecond' AS timestamp, row
          FROM unnest(%s::uuid[], %s::bigint[]) WITH ORDINALITY AS b (event_key, micros, row)),
        fresh AS (
          INSERT INTO event_keys SELECT event_key, timestamp FROM batch ORDER BY event_key
          ON CONFLICT DO NOTHING RETURNING event_key),
        months AS (SELECT DISTINCT date_trunc('month', timestamp AT TIME ZONE 'UTC') AS month FROM batch)
        SELECT array_agg(row - 1), pg_notify(%s, ''), (
          SELECT array_agg(month AT TIME ZONE 'UTC' ORDER BY month) FROM months
          WHERE to_regclass('events_' || to_char(month, 'YYYY_MM')) IS NULL)
        FROM batch WHERE NOT EXISTS (SELECT FROM fresh WHERE fresh.event_key = batch.event_key)"""
    arrays = ("{" + ",".join(keys) + "}", "{" + ",".join(map(str, micros)) + "}")
    driver = raw(connection)
    with driver.pipeline():  # which sends the transaction's BEGIN along
        if lock_ms is not None:
            driver.execute(f"SET LOCAL lock_timeout = {int(lock_ms)}")
        answer = driver.execute(statement, (*arrays, CHANNEL))
    known, _, absent = answer.fetchone()
    if absent:
        _add_partitions(connection, absent)
    return known or []


def _add_partitions(connection: Connection, months: Sequence[datetime]) -> None:
    """Make partitions in a transaction of their own.

    A partition made in a long transaction, such as an import's, would make every other sender of that month wait for
    its end. Looked for each time: a remembered answer could have been dropped by a retention job.
    """
    try:
        with transaction(connection.engine) as own:
            raw(own).execute("SET LOCAL lock_timeout = '2s'")
            _make_partitions(own, months)
    except errors.LockNotAvailable:
        _make_partitions(connection, months)  # this very transaction has locked the table: only it can


def _make_partitions(connection: Connection, months: Sequence[datetime]) -> None:
    raw(connection).execute(
        "SELECT ensure_event_partition(month) FROM unnest(%s::timestamptz[]) AS month", (list(months),)
    )
