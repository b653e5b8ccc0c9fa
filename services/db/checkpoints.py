"""How far background readers have come in the event log."""

import json
from typing import Any

from sqlalchemy import Connection, text

SEARCH_INDEX = "search-index"
"""The catalogue's mark (`services.db.items.items_mark`) that the published search index was made at."""


def get_checkpoint(connection: Connection, name: str) -> dict[str, Any] | None:
    """The stored value of a checkpoint, or None before the first."""
    return connection.execute(text("SELECT value FROM checkpoints WHERE name = :name"), {"name": name}).scalar()


def set_checkpoint(connection: Connection, name: str, value: dict[str, Any]) -> None:
    """Store the value; commit it together with the work that it stands for."""
    connection.execute(
        text(
            "INSERT INTO checkpoints (name, value) VALUES (:name, CAST(:value AS jsonb)) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()"
        ),
        {"name": name, "value": json.dumps(value)},
    )


def transaction_horizon(connection: Connection) -> int:
    """The oldest transaction id that may still be open: everything below it is committed or gone for good."""
    return int(connection.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")).scalar_one())


def users_with_events(connection: Connection, *, from_txid: int, below_txid: int) -> list[str]:
    """The users with an event committed by a transaction in `[from_txid, below_txid)`."""
    return list(
        connection.execute(
            text(
                "SELECT DISTINCT user_id FROM events WHERE txid >= CAST(CAST(:a AS text) AS xid8) "
                "AND txid < CAST(CAST(:b AS text) AS xid8)"
            ),
            {"a": str(from_txid), "b": str(below_txid)},
        ).scalars()
    )
