"""Who refused personalisation: no portrait is made of them, and no model learns from them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from services.db.session import raw

REFUSED = """consent @> '{"personalisation": false}'"""
"""SQL: the user has refused."""


def of_consenting(user_id: str) -> str:
    """SQL: the user whom the column `user_id` names (`events.user_id`) has not refused."""
    return f"NOT EXISTS (SELECT FROM users AS u WHERE u.user_id = {user_id} AND u.{REFUSED})"


def without_consent(connection: Connection, user_ids: Iterable[str] | None = None) -> set[str]:
    """The users (of those named, or all) who refused personalisation."""
    statement = f"SELECT user_id FROM users WHERE {REFUSED}"
    parameters: tuple[Any, ...] = ()
    if user_ids is not None:
        statement, parameters = statement + " AND user_id = ANY(%s)", (list(user_ids),)
    return {row[0] for row in raw(connection).execute(statement, parameters)}
