"""How served lists were ranked: written in bulk by the gateway, read by training and by the replay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from sqlalchemy import Connection

from feature_repo import names
from services.core.types import EventType
from services.db.consent import of_consenting
from services.db.copy import copy_out
from services.db.session import raw

CLOCKS_DIFFER = "5 minutes"
"""By how much a shop's clock may run behind ours: an event of a list may seem to come before the list."""


@dataclass(frozen=True)
class LoggedRequest:
    """What one list was ranked by (`services.db.models.impressions.ServedRequest`); times in epoch seconds.

    `packed`: the portrait of `portrait_at`, as it was read.
    """

    request_id: str
    user_id: str
    timestamp: float
    portrait_at: float | None
    snapshot: str
    model_version: str
    feature_hash: str
    request: bytes
    features: bytes
    packed: bytes | None

    @property
    def size(self) -> int:
        """Bytes of its larger parts."""
        return len(self.request) + len(self.features) + (0 if self.packed is None else len(self.packed))


MAY_BE_KEPT = of_consenting("new.user_id")
"""SQL: the user of a `new` row has not refused personalisation, perhaps while the row waited to be written."""

INSERT = f"""
INSERT INTO served_requests (
  request_id, user_id, timestamp, portrait_at, snapshot, model_version, feature_hash, request, features)
SELECT request_id, user_id, to_timestamp(at), to_timestamp(portrait_at), snapshot, model_version, feature_hash,
  request, features
FROM unnest(%b::text[], %b::text[], %b::float8[], %b::float8[], %b::text[], %b::text[], %b::text[], %b::bytea[],
  %b::bytea[]) AS new (
  request_id, user_id, at, portrait_at, snapshot, model_version, feature_hash, request, features)
WHERE {MAY_BE_KEPT}
ON CONFLICT DO NOTHING
"""

KEEP_PORTRAITS = f"""
INSERT INTO {names.SERVING_TABLE} (user_id, event_timestamp, packed)
SELECT user_id, to_timestamp(at), packed FROM unnest(%b::text[], %b::float8[], %b::bytea[]) AS new (user_id, at, packed)
WHERE {MAY_BE_KEPT}
ORDER BY user_id, at
ON CONFLICT DO NOTHING
"""


def insert_served_requests(connection: Connection, logged: Sequence[LoggedRequest]) -> int:
    """Write how lists were ranked, but not those of users who refused personalisation. Returns the number of rows."""
    if not logged:
        return 0
    columns = zip(
        *(
            (
                one.request_id,
                one.user_id,
                one.timestamp,
                one.portrait_at,
                one.snapshot,
                one.model_version,
                one.feature_hash,
                one.request,
                one.features,
            )
            for one in logged
        ),
        strict=True,
    )
    return raw(connection).execute(INSERT, [list(column) for column in columns]).rowcount


def keep_portraits(connection: Connection, portraits: Sequence[tuple[str, float, bytes]]) -> int:
    """Have portraits (user id, as of in epoch seconds, packed) in the history of the offline store, where they are not
    yet: what was served can be joined later. Not of users who refused personalisation: theirs were erased. Returns
    how many were new."""
    if not portraits:
        return 0
    columns = zip(*portraits, strict=True)
    return raw(connection).execute(KEEP_PORTRAITS, [list(column) for column in columns]).rowcount


def count_served_requests(connection: Connection, since: datetime, until: datetime) -> int:
    """How many logged requests there are in [since, until)."""
    statement = "SELECT count(*) FROM served_requests WHERE timestamp >= %s AND timestamp < %s"
    row = raw(connection).execute(statement, (since, until)).fetchone()
    return 0 if row is None else int(row[0])


def read_served_requests(
    connection: Connection, since: datetime, until: datetime, labelled_until: datetime, at_once: int
) -> Iterator[pa.Table]:
    """The logged requests of [since, until) with their lists and what came of them, by (timestamp, request_id).

    Tables of at most `at_once` rows with the columns of `served_requests` and, parallel by position, `item_ids`,
    `scores` and `propensities`; `event_items` and `event_types` are the attributed events (those that carry the
    request's id) before `labelled_until`. Users who refused personalisation are left out.
    """
    after: tuple[datetime, str] = (since, "")
    while True:
        rows = copy_out(connection, SELECT, [*after, until, at_once, CLOCKS_DIFFER, labelled_until])
        if not rows.num_rows:
            return
        yield rows
        after = rows["timestamp"][-1].as_py(), rows["request_id"][-1].as_py()


SELECT = f"""
SELECT r.*, shown.item_ids, shown.scores, shown.propensities,
  coalesce(came.items, '{{}}') AS event_items, coalesce(came.types, '{{}}') AS event_types
FROM (
  SELECT * FROM served_requests AS s
  WHERE (timestamp, request_id) > (%s::timestamptz, %s) AND timestamp < %s::timestamptz
    AND EXISTS (SELECT FROM impressions AS i WHERE i.request_id = s.request_id)
    AND {of_consenting("s.user_id")}
  ORDER BY timestamp, request_id LIMIT %s
) AS r
CROSS JOIN LATERAL (
  SELECT array_agg(item_id ORDER BY position) AS item_ids, array_agg(score ORDER BY position) AS scores,
    array_agg(propensity ORDER BY position) AS propensities
  FROM impressions AS i WHERE i.request_id = r.request_id
) AS shown
LEFT JOIN LATERAL (
  SELECT array_agg(item_id ORDER BY timestamp, event_key) AS items,
    array_agg(type ORDER BY timestamp, event_key) AS types
  FROM events AS e
  WHERE e.user_id = r.user_id AND e.request_id = r.request_id AND e.timestamp >= r.timestamp - %s::interval
    AND e.timestamp < %s::timestamptz AND e.item_id IS NOT NULL AND e.type <> '{EventType.IMPRESSION.value}'
) AS came ON true
ORDER BY r.timestamp, r.request_id
"""


def prune_served_requests(connection: Connection, before: datetime) -> int:
    """Forget how lists older than `before` were ranked. Returns how many."""
    return raw(connection).execute("DELETE FROM served_requests WHERE timestamp < %s", (before,)).rowcount
