"""What the shop says about its users, and erasing one."""

from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from feature_repo import names
from services.db.events import delete_users_events
from services.db.pending import Reason, enqueue
from services.db.session import raw

USER_TABLES = (
    names.BEHAVIOUR_TABLE,
    names.PROFILE_TABLE,
    names.AFFINITY_TABLE,
    names.SERVING_TABLE,
    "impressions",
    "searches",
    "served_requests",
    "users",
    "user_states",
    "quarantined_users",
)
"""Tables with a `user_id` besides the event log: `erase_user` empties them."""


def upsert_user(
    connection: Connection,
    user_id: str,
    *,
    attributes: dict[str, Any] | None = None,
    consent: dict[str, bool] | None = None,
) -> bool:
    """Set a user's attributes, as a whole, and consent, key by key; None leaves what is stored. Returns whether the
    user was new.

    Where consent is spoken of, the tail makes the portrait anew, or erases it.
    """
    statement = """
        INSERT INTO users AS old (user_id, attributes, consent)
        VALUES (%(user)s, coalesce(%(attributes)s, '{}'::jsonb), coalesce(%(consent)s, '{}'::jsonb))
        ON CONFLICT (user_id) DO UPDATE SET
          attributes = coalesce(%(attributes)s, old.attributes),
          consent = old.consent || excluded.consent,
          updated_at = now()
        RETURNING xmax = 0"""
    values = {
        "user": user_id,
        "attributes": None if attributes is None else Jsonb(attributes),
        "consent": None if consent is None else Jsonb(consent),
    }
    new = raw(connection).execute(statement, values).fetchone()[0]
    if consent is not None:
        enqueue(connection, [user_id], Reason.REBUILD)
    return new


def get_user(connection: Connection, user_id: str) -> dict[str, Any] | None:
    """The user's row, or None for a user known from events alone."""
    with raw(connection).cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT * FROM users WHERE user_id = %s", (user_id,))
        return cursor.fetchone()


def erase_user(connection: Connection, user_id: str) -> dict[str, int]:
    """Delete everything stored of a user in Postgres. Returns the number of rows by table.

    The online store is a cache of this: the user is queued for the tail, which finds nothing and erases the portrait.
    """
    gone = {"events": delete_users_events(connection, [user_id])}
    for table in USER_TABLES:
        gone[table] = raw(connection).execute(f"DELETE FROM {table} WHERE user_id = %s", (user_id,)).rowcount
    return gone
