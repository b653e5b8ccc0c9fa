"""Answered searches: written in bulk by the gateway, read back by user."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import Connection

from services.core.types import EventType
from services.db.consent import REFUSED
from services.db.session import raw


@dataclass(frozen=True)
class AnsweredSearch:
    """One search as it was answered. `timestamp` in epoch seconds; `total`: how many items matched.

    `query` as it was typed; `normalised`: the form under which equal queries are counted.
    """

    request_id: str
    user_id: str | None
    surface: str | None
    timestamp: float
    query: str
    normalised: str
    corrected: str | None
    mode: str
    total: int


INSERT = """
INSERT INTO searches (request_id, timestamp, user_id, surface, query, normalised, corrected, mode, total)
SELECT request_id, to_timestamp(timestamp), user_id, surface, query, normalised, corrected, mode, total
FROM json_to_recordset(%s::json) AS search (
    request_id text, timestamp float8, user_id text, surface text, query text, normalised text, corrected text,
    mode text, total integer
  )
ON CONFLICT (request_id) DO NOTHING
"""

RECENT = f"""
SELECT EXISTS (SELECT FROM users WHERE user_id = %(user)s AND {REFUSED}), ARRAY(
SELECT query FROM (
  (SELECT query, timestamp FROM searches WHERE user_id = %(user)s ORDER BY timestamp DESC LIMIT %(most)s)
  UNION ALL
  (SELECT query, timestamp FROM events
   WHERE user_id = %(user)s AND type = %(search)s AND query IS NOT NULL AND timestamp >= %(since)s
   ORDER BY timestamp DESC LIMIT %(most)s)
) asked GROUP BY query ORDER BY max(timestamp) DESC LIMIT %(most)s)
"""


def insert_searches(connection: Connection, searches: Sequence[AnsweredSearch]) -> int:
    """Write searches, each once. Returns the number of rows."""
    if not searches:
        return 0
    return raw(connection).execute(INSERT, (orjson.dumps(searches).decode(),)).rowcount


def recent_queries(connection: Connection, user_id: str, since: datetime, most: int) -> list[str] | None:
    """What the user asked last, newest first, each text once: answered searches, and `search` events since a time.
    None where the user refused personalisation: what was asked is not to be shown again."""
    parameters = {"user": user_id, "since": since, "most": most, "search": EventType.SEARCH.value}
    row = raw(connection).execute(RECENT, parameters).fetchone()
    assert row is not None  # a query without FROM has one
    refused, queries = row
    return None if refused else queries
