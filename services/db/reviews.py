"""Review texts that have no sentiment yet, and writing it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from services.db.pending import Reason, enqueue


def unscored_reviews(connection: Connection, limit: int) -> list[tuple[UUID, datetime, str]]:
    """Event key, time and text of up to `limit` reviews without sentiment."""
    rows = connection.execute(
        text(
            "SELECT event_key, timestamp, text FROM events WHERE text IS NOT NULL AND sentiment IS NULL "
            "ORDER BY timestamp LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [tuple(row) for row in rows]


def count_unscored(connection: Connection) -> int:
    """How many reviews have no sentiment."""
    return connection.execute(
        text("SELECT count(*) FROM events WHERE text IS NOT NULL AND sentiment IS NULL")
    ).scalar_one()


def write_sentiments(
    connection: Connection, keys: Sequence[tuple[UUID, datetime]], sentiments: Sequence[float]
) -> None:
    """Store the sentiment (−1 to 1) of these events; the tail makes their users' portraits anew."""
    users = connection.execute(
        text(
            "UPDATE events e SET sentiment = s.sentiment FROM unnest(CAST(:keys AS uuid[]), "
            "CAST(:timestamps AS timestamptz[]), CAST(:sentiments AS real[])) AS s(event_key, timestamp, sentiment) "
            "WHERE e.event_key = s.event_key AND e.timestamp = s.timestamp RETURNING e.user_id"
        ),
        {
            "keys": [key for key, _ in keys],
            "timestamps": [timestamp for _, timestamp in keys],
            "sentiments": [float(value) for value in sentiments],
        },
    )
    enqueue(connection, users.scalars(), Reason.REBUILD)
