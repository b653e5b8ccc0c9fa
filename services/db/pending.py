"""The queue of users whose portrait is to be made or published again.

Whoever changes what a portrait is made of puts its users here, in the transaction of the change; the tail takes them
between its ticks. A request stays until the transaction that fulfils it commits, and one that comes meanwhile keeps it.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection

from services.db.models.live import PARTITION_OF_USER
from services.db.session import raw


class Reason(StrEnum):
    """What a user waits for. Rebuilding publishes as well."""

    REBUILD = "rebuild"
    PUBLISH = "publish"


ON_CONFLICT = """
    ON CONFLICT (user_id) DO UPDATE SET
      reason = CASE WHEN excluded.reason = 'rebuild' THEN 'rebuild' ELSE old.reason END"""
"""A repeated request writes the row again, so that a fulfilment under way does not take it for done."""


@dataclass(frozen=True)
class PendingUsers:
    """Requests taken from the queue, oldest first: `versions` change when a request is repeated."""

    user_ids: tuple[str, ...]
    versions: tuple[str, ...]

    def only(self, user_ids: Container[str]) -> "PendingUsers":
        """The requests of some users."""
        kept = [pair for pair in zip(self.user_ids, self.versions, strict=True) if pair[0] in user_ids]
        return PendingUsers(tuple(user for user, _ in kept), tuple(version for _, version in kept))


@dataclass(frozen=True)
class Backlog:
    """How many users wait, by reason, and since when the oldest does."""

    rebuild: int
    publish: int
    oldest: datetime | None


def enqueue(connection: Connection, user_ids: Iterable[str], reason: str) -> int:
    """Put users into the queue (`Reason`); one that is to be rebuilt stays so. Returns how many were given."""
    ids = sorted(set(user_ids))
    if not ids:
        return 0
    statement = f"""
        INSERT INTO pending_users AS old (user_id, reason) SELECT user_id, %s FROM unnest(%s::text[]) AS u (user_id)
        ORDER BY user_id {ON_CONFLICT}"""
    raw(connection).execute(statement, (str(reason), ids))
    return len(ids)


def enqueue_selected(connection: Connection, users: str, parameters: Sequence[object], reason: str) -> int:
    """As `enqueue`, of the users that the query `users` returns (one column, `user_id`)."""
    statement = f"""
        INSERT INTO pending_users AS old (user_id, reason)
        SELECT DISTINCT user_id, %s FROM ({users}) AS u ORDER BY user_id {ON_CONFLICT}"""
    return raw(connection).execute(statement, (str(reason), *parameters)).rowcount


def enqueue_updated_since(
    connection: Connection, since: datetime | None, partitions: Sequence[int] | None, reason: str
) -> int:
    """Put all users into the queue whose state was stored after `since` (None: all), of some partitions (None: all)."""
    users = f"""
        SELECT user_id FROM user_states WHERE (%s::timestamptz IS NULL OR updated_at > %s)
        AND (%s::int[] IS NULL OR {PARTITION_OF_USER} = ANY(%s::int[]))"""
    chosen = None if partitions is None else list(partitions)
    return enqueue_selected(connection, users, (since, since, chosen, chosen), reason)


def enqueue_moved(connection: Connection, user_ids: Iterable[str], as_of: datetime) -> int:
    """Have those of the users published again whose state is not as of `as_of` (any more), or is gone."""
    users = """
        SELECT user_id FROM unnest(%s::text[]) AS published (user_id) LEFT JOIN user_states USING (user_id)
        WHERE as_of IS DISTINCT FROM %s"""
    return enqueue_selected(connection, users, (list(user_ids), as_of), Reason.PUBLISH)


def enqueue_of_other_reference(connection: Connection, user_ids: Iterable[str], version: int) -> int:
    """Have those of the users rebuilt whose state was made under another version of the reference statistics."""
    users = "SELECT user_id FROM user_states WHERE user_id = ANY(%s) AND reference_version <> %s"
    return enqueue_selected(connection, users, (list(user_ids), version), Reason.REBUILD)


def enqueue_holders(connection: Connection, item_ids: Iterable[str], partitions: Sequence[int] | None = None) -> int:
    """Have the users of some partitions (None: all) rebuilt who have an event on one of the items."""
    users = f"""
        SELECT user_id FROM events WHERE item_id = ANY(%s)
        AND (%s::int[] IS NULL OR {PARTITION_OF_USER} = ANY(%s::int[]))"""
    chosen = None if partitions is None else list(partitions)
    return enqueue_selected(connection, users, (list(item_ids), chosen, chosen), Reason.REBUILD)


def take_pending(connection: Connection, partitions: Sequence[int], reason: str, limit: int) -> PendingUsers:
    """Up to `limit` users of these partitions who wait for this reason, the longest first. They stay in the queue until
    `fulfil`."""
    statement = f"""
        SELECT user_id, xmin::text FROM pending_users WHERE reason = %s AND {PARTITION_OF_USER} = ANY(%s)
        ORDER BY requested_at LIMIT %s"""
    rows = raw(connection).execute(statement, (str(reason), list(partitions), limit)).fetchall()
    return PendingUsers(tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def fulfil(connection: Connection, taken: PendingUsers) -> None:
    """Take these requests out of the queue, but those that were repeated since they were taken."""
    if not taken.user_ids:
        return
    statement = """
        DELETE FROM pending_users AS p USING unnest(%s::text[], %s::text[]) AS t (user_id, version)
        WHERE p.user_id = t.user_id AND p.xmin::text = t.version"""
    raw(connection).execute(statement, (list(taken.user_ids), list(taken.versions)))


def backlog(connection: Connection, partitions: Sequence[int]) -> Backlog:
    """What waits in these partitions."""
    statement = f"""
        SELECT count(*) FILTER (WHERE reason = 'rebuild'), count(*) FILTER (WHERE reason = 'publish'),
          min(requested_at) FILTER (WHERE reason = 'rebuild')
        FROM pending_users WHERE {PARTITION_OF_USER} = ANY(%s)"""
    return Backlog(*raw(connection).execute(statement, (list(partitions),)).fetchone())
