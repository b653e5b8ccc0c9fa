"""The versioned reference statistics, and the sample of events that they are fitted on."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, text

from services.db.copy import copy_out

HASH_BUCKETS = 10_000


def read_reference(connection: Connection, version: int | None = None) -> tuple[int, dict[str, Any]] | None:
    """(version, value) of the newest reference statistics, or of the version asked for; None where there is none."""
    row = connection.execute(
        text(
            "SELECT version, value FROM reference_statistics WHERE CAST(:version AS integer) IS NULL "
            "OR version = :version ORDER BY version DESC LIMIT 1"
        ),
        {"version": version},
    ).one_or_none()
    return None if row is None else (row.version, row.value)


def newest_version(connection: Connection) -> int:
    """The version of the statistics in force; 0 where none were stored."""
    return connection.execute(text("SELECT coalesce(max(version), 0) FROM reference_statistics")).scalar_one()


def write_reference(connection: Connection, value: Mapping[str, Any]) -> int:
    """Store statistics as a new version; returns its number."""
    return connection.execute(
        text("INSERT INTO reference_statistics (value) VALUES (CAST(:value AS jsonb)) RETURNING version"),
        {"value": json.dumps(value)},
    ).scalar_one()


def event_volume(connection: Connection, since: datetime, until: datetime) -> int:
    """About how many events lie in the months of `[since, until]`, from the planner's statistics (exact when small)."""
    query = "SELECT FROM events WHERE timestamp > :since AND timestamp <= :until"
    plan = connection.execute(text(f"EXPLAIN (FORMAT JSON) {query}"), {"since": since, "until": until}).scalar_one()
    estimate = int(plan[0]["Plan"]["Plan Rows"])
    if estimate > 100_000:
        return estimate
    return connection.execute(
        text("SELECT count(*) FROM events WHERE timestamp > :since AND timestamp <= :until"),
        {"since": since, "until": until},
    ).scalar_one()


def sample_events(connection: Connection, since: datetime, until: datetime, share: float) -> pa.Table:
    """All events of a `share` of the users in `(since, until]`, the same users each time.

    Columns `user_id`, `item_id`, `type`, `timestamp`, `position`, `dwell_ms`; events without an item are left out.
    """
    query = """
        SELECT user_id, item_id, type, timestamp, position, dwell_ms FROM events
        WHERE timestamp > %(since)s AND timestamp <= %(until)s AND item_id IS NOT NULL
        AND (hashtext(user_id)::bigint & 2147483647) %% %(buckets)s < %(kept)s
    """
    kept = max(1, round(share * HASH_BUCKETS))
    return copy_out(connection, query, {"since": since, "until": until, "buckets": HASH_BUCKETS, "kept": kept})


def item_groups(connection: Connection) -> pa.Table:
    """`item_id`, `brand`, `categories` of the whole catalogue."""
    return copy_out(connection, "SELECT item_id, brand, categories FROM items")
