"""What the profile recompute reads and writes: users with events, their items, the feature tables."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import pyarrow as pa
from sqlalchemy import Connection

from feature_repo import names
from services.core.types import EventType
from services.db.copy import copy_in, copy_out
from services.db.events import read_events
from services.db.session import raw

PROFILE_TABLES: tuple[str, ...] = (
    names.BEHAVIOUR_TABLE,
    names.PROFILE_TABLE,
    names.AFFINITY_TABLE,
    names.SERVING_TABLE,
)
"""The feature tables of users, all keyed by (user_id, event_timestamp)."""

SIGNALS: tuple[str, ...] = tuple(kind.value for kind in EventType if kind != EventType.IMPRESSION)
"""The event types that profiles are made of: what was merely shown says nothing of the user."""


def users_with_signals(connection: Connection, until: datetime, user_ids: Iterable[str] | None = None) -> pa.Table:
    """`user_id`, `events` and `lot` of the users (of those named, or all) with events before `until`, by user id.

    `lot` is a hash of the user id: ordering by it draws the same sample of users every time.
    """
    query = """
        SELECT user_id, count(*) AS events, hashtext(user_id) AS lot FROM events
        WHERE type = ANY(%s) AND timestamp < %s{} GROUP BY user_id ORDER BY user_id"""
    parameters: list[object] = [list(SIGNALS), until]
    if user_ids is not None:
        parameters.append(list(user_ids))
    return copy_out(connection, query.format("" if user_ids is None else " AND user_id = ANY(%s)"), parameters)


def read_signals(connection: Connection, user_ids: Iterable[str], until: datetime, columns: Sequence[str]) -> pa.Table:
    """The users' events before `until`, in order of (user_id, timestamp, sequence)."""
    return read_events(connection, user_ids=user_ids, types=SIGNALS, until=until, columns=columns, ordered=True)


def users_touched_since(connection: Connection, since: datetime) -> list[str]:
    """Users with an event received, an attribute or consent changed, or a held item's vector changed since then."""
    statement = """
        SELECT user_id FROM events WHERE received_at >= %(since)s
        UNION SELECT user_id FROM users WHERE updated_at >= %(since)s
        UNION SELECT user_id FROM events JOIN item_vectors USING (item_id) WHERE event_timestamp >= %(since)s"""
    return [row[0] for row in raw(connection).execute(statement, {"since": since})]


def users_without_signals(connection: Connection, user_ids: Iterable[str] | None = None) -> list[str]:
    """Users who have no event that makes a portrait: of those named, or (None) of all who still have a portrait."""
    users = f"(SELECT DISTINCT user_id FROM {names.SERVING_TABLE})"
    parameters: tuple[list[str], ...] = ()
    if user_ids is not None:
        users, parameters = "unnest(%s::text[])", (list(user_ids),)
    statement = f"""
        SELECT user_id FROM {users} AS s (user_id) WHERE NOT EXISTS (
          SELECT FROM events AS e WHERE e.user_id = s.user_id AND e.type = ANY(%s))"""
    return [row[0] for row in raw(connection).execute(statement, (*parameters, list(SIGNALS)))]


def read_profile_items(connection: Connection, item_ids: Iterable[str] | None = None) -> pa.Table:
    """`item_id`, `brand`, `categories`, `price` of the items named, or of all, in order of item id."""
    query = "SELECT item_id, brand, categories, price FROM items{} ORDER BY item_id"
    return _of_items(connection, query, item_ids)


def read_item_vectors(connection: Connection, item_ids: Iterable[str] | None = None) -> pa.Table:
    """`item_id`, `space`, `vector` (little-endian float32 bytes) of the items named, or of all."""
    return _of_items(connection, f"SELECT item_id, space, vector FROM {names.VECTOR_TABLE}{{}}", item_ids)


def category_coverage(connection: Connection) -> dict[str, float]:
    """The share of the shop's items that carry a category, by its name."""
    statement = """
        SELECT name, count(DISTINCT item_id)::float8 / (SELECT count(*) FROM items)
        FROM items, unnest(categories) AS name GROUP BY name"""
    return dict(raw(connection).execute(statement).fetchall())


POOL = f"""
    WITH known AS (
      SELECT user_id FROM user_states UNION ALL
      SELECT DISTINCT user_id FROM {names.PROFILE_TABLE} WHERE NOT EXISTS (SELECT FROM user_states)),
    drawn AS (SELECT user_id, hashtext(user_id) AS lot FROM known ORDER BY lot, user_id),
    pool AS (
      SELECT newest.* FROM drawn CROSS JOIN LATERAL (
        SELECT user_id, space, long_term FROM {names.PROFILE_TABLE} AS p WHERE p.user_id = drawn.user_id
        ORDER BY event_timestamp DESC LIMIT 1) AS newest
      ORDER BY drawn.lot, drawn.user_id LIMIT %s)
    SELECT user_id, space, long_term FROM pool WHERE long_term IS NOT NULL"""
"""Draws among the users who have a state, one row each, and looks up one profile of as many as are wanted: the table of
profiles has a row for every time that a portrait was made. Where no states are kept, that table says who there is."""


def stored_long_term(connection: Connection, users: int) -> pa.Table:
    """`user_id`, `space`, `long_term` of the newest profile of at most `users` users, a fixed sample of them."""
    return copy_out(connection, POOL, [users])


def write_profiles(connection: Connection, rows_by_table: dict[str, pa.Table], as_of: datetime) -> None:
    """Write rows of the feature tables named, all as of `as_of`, in place of those the users already have as of then.

    A COPY straight into the table: half the work of an upsert, as there is hardly ever a row to replace.
    """
    for table, rows in rows_by_table.items():
        user_ids = rows.column(names.USER_ID).to_pylist()
        raw(connection).execute(
            f"DELETE FROM {table} WHERE {names.EVENT_TIMESTAMP} = %s AND user_id = ANY(%s)", (as_of, user_ids)
        )
        copy_in(connection, table, rows)


def erase_profiles(connection: Connection, user_ids: Sequence[str]) -> int:
    """Delete every feature row of the users. Returns how many users had a portrait."""
    driver = raw(connection)
    found = f"SELECT count(DISTINCT user_id) FROM {names.SERVING_TABLE} WHERE user_id = ANY(%s)"
    had = driver.execute(found, (list(user_ids),)).fetchone()
    for table in PROFILE_TABLES:
        driver.execute(f"DELETE FROM {table} WHERE user_id = ANY(%s)", (list(user_ids),))
    return had[0] if had else 0


def prune_profiles(connection: Connection, before: datetime) -> int:
    """Delete feature rows older than `before`, but never a user's newest. Returns how many rows went."""
    statement = """
        DELETE FROM {0} AS old WHERE event_timestamp < %s AND EXISTS (
          SELECT FROM {0} AS newer WHERE newer.user_id = old.user_id AND newer.event_timestamp > old.event_timestamp)"""
    return sum(raw(connection).execute(statement.format(table), (before,)).rowcount for table in PROFILE_TABLES)


def newest_packed(connection: Connection, user_id: str) -> bytes | None:
    """The user's newest packed portrait, or None."""
    statement = (
        f"SELECT packed FROM {names.SERVING_TABLE} WHERE user_id = %s ORDER BY {names.EVENT_TIMESTAMP} DESC LIMIT 1"
    )
    row = raw(connection).execute(statement, (user_id,)).fetchone()
    return None if row is None else bytes(row[0])


def item_titles(connection: Connection, item_ids: Iterable[str]) -> dict[str, str]:
    """The titles of those of the items that are in the catalogue, by id."""
    statement = "SELECT item_id, title FROM items WHERE item_id = ANY(%s)"
    return dict(raw(connection).execute(statement, (list(item_ids),)).fetchall())


def _of_items(connection: Connection, query: str, item_ids: Iterable[str] | None) -> pa.Table:
    if item_ids is None:
        return copy_out(connection, query.format(""))
    return copy_out(connection, query.format(" WHERE item_id = ANY(%s)"), [list(item_ids)])
