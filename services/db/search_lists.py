"""Searches with what was shown and what was taken of it: what a search ranker learns from."""

from datetime import datetime

import pyarrow as pa
from sqlalchemy import Connection

from services.db.consent import of_consenting
from services.db.copy import copy_out
from services.db.query_feedback import WEIGHTS

SHOWN_SEARCHES = f"""
SELECT s.request_id, s.user_id, s.timestamp, s.query, s.normalised, shown.item_ids, shown.positions,
  coalesce(came.items, '{{}}') AS taken_items, coalesce(came.types, '{{}}') AS taken_types
FROM (
  SELECT * FROM searches WHERE timestamp >= %s AND timestamp < %s
    AND (user_id IS NULL OR {of_consenting("searches.user_id")})
  ORDER BY timestamp DESC, request_id LIMIT %s
) AS s
CROSS JOIN LATERAL (
  SELECT array_agg(item_id ORDER BY position) AS item_ids, array_agg(position ORDER BY position) AS positions
  FROM impressions AS i WHERE i.request_id = s.request_id
) AS shown
LEFT JOIN (
  SELECT request_id, array_agg(item_id) AS items, array_agg(type) AS types FROM events
  WHERE request_id IS NOT NULL AND item_id IS NOT NULL AND type = ANY(%s) AND timestamp >= %s AND timestamp < %s
  GROUP BY request_id
) AS came USING (request_id)
WHERE shown.item_ids IS NOT NULL
ORDER BY s.timestamp, s.request_id
"""


def shown_searches(
    connection: Connection, since: datetime, until: datetime, taken_until: datetime, most: int
) -> pa.Table:
    """The newest `most` searches of [since, until) that showed something, oldest first, but those of users who refused
    personalisation: `request_id`, `user_id`, `timestamp`, `query`, `normalised`; `item_ids` and `positions` in their
    order; `taken_items` and `taken_types`: the clicks, favourites, carts and purchases before `taken_until`."""
    given = [since, until, most, list(WEIGHTS), since, taken_until]
    return copy_out(connection, SHOWN_SEARCHES, given)
