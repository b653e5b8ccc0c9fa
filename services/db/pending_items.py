"""The queue of items whose engagement is to be summed again or published again.

Deleting or changing events fills it by trigger. Requests are appended, so that nobody waits for a tick; a tick deletes
those it fulfils, which are exactly those its snapshot shows.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from feature_repo import names
from services.db.session import raw


class ItemReason(StrEnum):
    """What an item waits for. Summing it again publishes what changed."""

    REBUILD = "rebuild"
    PUBLISH = "publish"


def enqueue_items(connection: Connection, item_ids: Iterable[str], reason: ItemReason) -> int:
    """Ask for items, but those that wait for the same already. Returns how many were added."""
    wanted = list(item_ids)
    if not wanted:
        return 0
    statement = """
        INSERT INTO pending_items (item_id, reason) SELECT DISTINCT item_id, %(reason)s FROM unnest(%(ids)s::text[])
        AS i (item_id) WHERE NOT EXISTS (
            SELECT FROM pending_items p WHERE p.item_id = i.item_id AND p.reason = %(reason)s)"""
    return raw(connection).execute(statement, {"ids": wanted, "reason": str(reason)}).rowcount


def enqueue_items_since(connection: Connection, since: datetime) -> int:
    """Ask that all items be published again whose engagement was written since a time. Returns how many were added."""
    written = connection.execute(
        text(f"SELECT DISTINCT item_id FROM {names.ENGAGEMENT_TABLE} WHERE event_timestamp >= :since"), {"since": since}
    )
    return enqueue_items(connection, written.scalars().all(), ItemReason.PUBLISH)


def take_items(connection: Connection, reason: ItemReason, limit: int) -> list[str]:
    """Take up to `limit` items out of the queue, the longest waiting first, with all their requests of this kind."""
    statement = """
        WITH first AS (
          SELECT item_id FROM pending_items WHERE reason = %(reason)s GROUP BY item_id ORDER BY min(ticket)
          LIMIT %(limit)s),
        gone AS (
          DELETE FROM pending_items p USING first f WHERE p.item_id = f.item_id AND p.reason = %(reason)s)
        SELECT item_id FROM first"""
    return [row[0] for row in raw(connection).execute(statement, {"reason": str(reason), "limit": limit})]


def waiting_items(connection: Connection, reason: ItemReason) -> list[str]:
    """The items that wait for this."""
    found = raw(connection).execute("SELECT DISTINCT item_id FROM pending_items WHERE reason = %s", (str(reason),))
    return [row[0] for row in found]


def forget_items(connection: Connection, reason: ItemReason) -> int:
    """Take everything out of the queue that waits for this."""
    return raw(connection).execute("DELETE FROM pending_items WHERE reason = %s", (str(reason),)).rowcount


def count_pending_items(connection: Connection) -> dict[str, int]:
    """How many requests wait, by reason."""
    return dict(raw(connection).execute("SELECT reason, count(*) FROM pending_items GROUP BY 1").fetchall())
