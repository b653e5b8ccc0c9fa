"""What was shown: written in bulk by the gateway, read for attribution and training."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
import pyarrow as pa
from sqlalchemy import Connection

from services.db.copy import copy_out
from services.db.searches import AnsweredSearch, insert_searches
from services.db.session import raw

COLUMNS = (
    "request_id",
    "position",
    "item_id",
    "user_id",
    "surface",
    "timestamp",
    "score",
    "propensity",
    "sources",
    "model",
)


@dataclass(frozen=True)
class ServedList:
    """One list as it was answered; the sequences are parallel, in the list's order. `timestamp` in epoch seconds."""

    request_id: str
    user_id: str
    surface: str | None
    timestamp: float
    model: str
    item_ids: Sequence[str]
    scores: Sequence[float]
    propensities: Sequence[float]
    sources: Sequence[Sequence[str]]
    first: int = 0
    """The position of the first of them: more than 0 on the later pages of a search."""
    search: AnsweredSearch | None = None
    """The search that this list answers, on its first page."""


INSERT = """
INSERT INTO impressions (request_id, position, item_id, user_id, surface, timestamp, score, propensity, sources, model)
SELECT list.request_id, list.first + row.place - 1, row.item_id, list.user_id, list.surface,
  to_timestamp(list.timestamp), row.score::real, row.propensity::real, string_to_array(row.sources, ','), list.model
FROM json_to_recordset(%s::json) AS list (
    request_id text, first integer, user_id text, surface text, timestamp float8, model text,
    item_ids json, scores json, propensities json, sources json
  ),
  ROWS FROM (
    json_array_elements_text(list.item_ids), json_array_elements_text(list.scores),
    json_array_elements_text(list.propensities), json_array_elements_text(list.sources)
  ) WITH ORDINALITY AS row (item_id, score, propensity, sources, place)
ON CONFLICT (request_id, position) DO NOTHING
"""


def insert_impressions(connection: Connection, lists: Sequence[ServedList]) -> int:
    """Write the lists, one row an item, and the searches that they answer. Returns the number of items' rows.

    A page that is asked for again is written once.

    The lists travel as one JSON text and PostgreSQL takes them apart: the gateway's process, which has requests to
    answer, spends a twentieth of the time that building columns for COPY takes.
    """
    if not lists:
        return 0
    insert_searches(connection, [served.search for served in lists if served.search is not None])
    text = orjson.dumps(
        [
            {
                "request_id": served.request_id,
                "first": served.first,
                "user_id": served.user_id,
                "surface": served.surface,
                "timestamp": served.timestamp,
                "model": served.model,
                "item_ids": served.item_ids,
                "scores": served.scores,
                "propensities": served.propensities,
                "sources": [",".join(names) for names in served.sources],
            }
            for served in lists
        ]
    )
    return raw(connection).execute(INSERT, (text.decode(),)).rowcount


def read_impressions(connection: Connection, *, since: datetime, until: datetime) -> pa.Table:
    """The impressions shown in [since, until), by (timestamp, request_id, position)."""
    query = (
        f"SELECT {', '.join(COLUMNS)} FROM impressions WHERE timestamp >= %s AND timestamp < %s "
        "ORDER BY timestamp, request_id, position"
    )
    return copy_out(connection, query, [since, until])


PRUNE = """
DELETE FROM impressions WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM impressions WHERE timestamp < %s ORDER BY timestamp LIMIT %s
))
"""


def prune_impressions(connection: Connection, before: datetime, most: int) -> int:
    """Forget the oldest impressions shown before a time, at most `most`: a transaction that ends soon. Returns how many
    went."""
    return raw(connection).execute(PRUNE, (before, most)).rowcount


OUTCOMES = """
WITH lists AS (
  SELECT request_id, min(user_id) AS user_id, min(model) AS model
  FROM impressions WHERE timestamp >= %(since)s AND timestamp < %(until)s GROUP BY request_id
), outcomes AS (
  SELECT lists.request_id, count(*) FILTER (WHERE events.type = 'click') AS clicks,
    count(*) FILTER (WHERE events.type = 'purchase') AS purchases
  FROM lists JOIN events ON events.user_id = lists.user_id AND events.request_id = lists.request_id
  WHERE events.timestamp >= %(since)s AND events.type IN ('click', 'purchase') GROUP BY lists.request_id
)
SELECT model, user_id, count(*), coalesce(sum(clicks), 0)::bigint, coalesce(sum(purchases), 0)::bigint
FROM lists LEFT JOIN outcomes USING (request_id) GROUP BY model, user_id ORDER BY model, user_id
"""


def outcomes_by_model(connection: Connection, since: datetime, until: datetime) -> list[tuple[str, str, int, int, int]]:
    """(model, user, lists, clicks, purchases) of the lists shown in [since, until)."""
    return raw(connection).execute(OUTCOMES, {"since": since, "until": until}).fetchall()
