"""The event log as the tail reads it: what has become visible between two snapshots.

A transaction's events become visible together when it commits, in whatever order transactions began. Two snapshots
therefore say exactly which events are new (docs/adr/0005), where a transaction id alone would either skip a
transaction that commits late or hold everybody up until it does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
from sqlalchemy import Connection

from services.db.consent import REFUSED
from services.db.models.live import PARTITION_OF_USER
from services.db.pending import PendingUsers, Reason, enqueue_selected
from services.db.profiles import SIGNALS
from services.db.session import raw

BEGINNING = "1:1:"
"""The snapshot that shows nothing."""

LONGEST_RECOMPUTE = timedelta(days=1)

_GLANCED = "portrait.glanced"
"""The setting that holds a transaction's glance, for the questions that follow in the same round trip."""

DELTA_TYPES: dict[str, pa.DataType] = {
    "user_id": pa.string(),
    "item_id": pa.string(),
    "type": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "position": pa.int32(),
    "dwell_ms": pa.int64(),
    "depth": pa.float32(),
    "price": pa.float64(),
    "rating": pa.float32(),
    "sentiment": pa.float32(),
    "sequence": pa.int64(),
    "received_at": pa.timestamp("us", tz="UTC"),
    "txid": pa.int64(),
}
"""The columns of events that a tail may ask for."""


@dataclass(frozen=True)
class Snapshot:
    """A `pg_snapshot`: transactions below `xmax` are visible but those `in_progress`."""

    xmin: int
    xmax: int
    in_progress: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """The snapshot of PostgreSQL's text."""
        xmin, xmax, rest = text.split(":")
        return cls(int(xmin), int(xmax), tuple(int(xid) for xid in rest.split(",") if xid))

    def shows(self, txid: int) -> bool:
        """Whether the transaction is visible, as `pg_visible_in_snapshot`."""
        return txid < self.xmax and txid not in self.in_progress

    def no_older_than(self, other: "Snapshot") -> bool:
        """Whether this one, taken in the same cluster, was taken at the same time or later."""
        return (self.xmax, -len(self.in_progress)) >= (other.xmax, -len(other.in_progress))


@dataclass(frozen=True)
class Glance:
    """What a tick needs to know before anything else, in one round trip."""

    snapshot: str
    reference_version: int
    catalogue_changed: bool
    pending: bool


def glance(connection: Connection, catalogue: str, partitions: Sequence[int]) -> Glance:
    """The current snapshot, the reference version in force, whether the catalogue has changed since a snapshot, and
    whether a user of these partitions waits in the queue."""
    return glancing(connection, catalogue, partitions)()


def glancing(connection: Connection, catalogue: str, partitions: Sequence[int]) -> Callable[[], Glance]:
    """Ask as `glance` does; what is returned gives the answer, which in a pipeline comes with that to other questions.
    The snapshot is this transaction's `_GLANCED` from then on."""
    statement = (
        f"SELECT set_config('{_GLANCED}', pg_current_snapshot()::text, true), "
        "(SELECT coalesce(max(version), 0) FROM reference_statistics), "
        f"EXISTS (SELECT FROM catalogue_changes WHERE {_between(catalogue)} "
        "AND pg_visible_in_snapshot(txid, pg_current_snapshot())), "
        f"EXISTS (SELECT FROM pending_users WHERE {PARTITION_OF_USER} = ANY(%s))"
    )
    cursor = raw(connection).execute(statement, (list(partitions),))

    def answer() -> Glance:
        row = cursor.fetchone()
        assert row is not None
        return Glance(*row)

    return answer


def read_delta(
    connection: Connection, partitions: Sequence[int], old: str, new: str, columns: Sequence[str], limit: int
) -> pa.Table:
    """The events of these partitions that are visible in `new` and not in `old`, without impressions.

    At most `limit` of them, in no order: a full table says that there may be more. `columns` are of `DELTA_TYPES`.
    """
    return reading_delta(connection, partitions, old, new, columns, limit)()


def reading_delta(
    connection: Connection, partitions: Sequence[int], old: str, new: str | None, columns: Sequence[str], limit: int
) -> Callable[[], pa.Table]:
    """Ask as `read_delta` does, `new` being the snapshot of the transaction's glance where it is None; what is returned
    gives the answer."""
    chosen = ", ".join("txid::text::bigint AS txid" if name == "txid" else name for name in columns)
    later = f"SELECT {chosen} FROM events WHERE txid >= %s::text::xid8 AND {_DELTA}"
    late = f"SELECT {chosen} FROM events WHERE txid = ANY(%s::text[]::xid8[]) AND {_DELTA}"
    snapshot, rest = Snapshot.parse(old), _delta_values(partitions, new)
    statement, values = later, [str(snapshot.xmax), *rest]
    if snapshot.in_progress:
        statement, values = f"{later} UNION ALL {late}", [*values, [str(xid) for xid in snapshot.in_progress], *rest]
    cursor = raw(connection).cursor(binary=True)
    cursor.execute(f"{statement} LIMIT {int(limit)}", values, prepare=True)

    def answer() -> pa.Table:
        rows = cursor.fetchall()
        found = zip(*rows, strict=True) if rows else [()] * len(columns)
        arrays = [pa.array(values, DELTA_TYPES[name]) for name, values in zip(columns, found, strict=True)]
        return pa.Table.from_arrays(arrays, list(columns))

    return answer


def enqueue_delta(connection: Connection, partitions: Sequence[int], old: str, new: str) -> int:
    """Have all users rebuilt who have an event in this delta that is not in their state. Returns how many."""
    users = (
        f"SELECT user_id FROM events LEFT JOIN user_states AS s USING (user_id) WHERE {_between(old)} AND {_DELTA} "
        "AND (s.snapshot IS NULL OR NOT pg_visible_in_snapshot(txid, s.snapshot))"
    )
    return enqueue_selected(connection, users, _delta_values(partitions, new), Reason.REBUILD)


def changed_items(connection: Connection, old: str, new: str) -> list[str]:
    """The items whose row or vector changed between two snapshots."""
    statement = (
        f"SELECT DISTINCT item_id FROM catalogue_changes WHERE {_between(old)} "
        "AND pg_visible_in_snapshot(txid, %s::pg_snapshot)"
    )
    return [row[0] for row in raw(connection).execute(statement, (new,))]


def forget_catalogue_changes(connection: Connection) -> int:
    """Delete the changes that every partition has seen and that no recompute under way began before."""
    statement = """
        DELETE FROM catalogue_changes WHERE changed_at < now() - %s AND txid <
          (SELECT min(pg_snapshot_xmin(catalogue)::text::bigint) FROM tail_partitions)::text::xid8"""
    return raw(connection).execute(statement, (LONGEST_RECOMPUTE,)).rowcount


def begin_anew(connection: Connection) -> None:
    """Take a log that was restored from a dump into another cluster, whose transaction ids are lower, from its start.

    The ids that the dump brought along would count as not yet begun; they become the first ordinary one.
    """
    driver = raw(connection)
    for table in ("events", "catalogue_changes"):
        driver.execute(f"UPDATE {table} SET txid = '3' WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())")
    driver.execute("UPDATE user_states SET snapshot = %s::text::pg_snapshot", (BEGINNING,))
    driver.execute(
        "UPDATE tail_partitions SET snapshot = %(a)s::text::pg_snapshot, catalogue = %(a)s::text::pg_snapshot",
        {"a": BEGINNING},
    )
    enqueue_selected(connection, "SELECT user_id FROM user_states", (), Reason.REBUILD)


def quarantine(connection: Connection, user_id: str, error: str) -> None:
    """Leave a user alone until a rebuild succeeds."""
    raw(connection).execute(
        "INSERT INTO quarantined_users (user_id, error, since) VALUES (%s, %s, clock_timestamp()) "
        "ON CONFLICT (user_id) DO UPDATE SET error = excluded.error, since = excluded.since",
        (user_id, error),
    )


def release_from_quarantine(connection: Connection, user_ids: Sequence[str]) -> int:
    """Forget that these users raised."""
    return raw(connection).execute("DELETE FROM quarantined_users WHERE user_id = ANY(%s)", (list(user_ids),)).rowcount


def retry_quarantined(connection: Connection, partitions: Sequence[int], minutes: float) -> int:
    """Have those rebuilt who have been in quarantine for this long: what made them raise may be gone."""
    users = (
        f"SELECT user_id FROM quarantined_users WHERE {PARTITION_OF_USER} = ANY(%s) "
        "AND since <= clock_timestamp() - %s * interval '1 minute'"
    )
    return enqueue_selected(connection, users, (list(partitions), minutes), Reason.REBUILD)


def standing(
    connection: Connection, user_ids: Sequence[str], reference_version: int
) -> Callable[[], tuple[set[str], PendingUsers]]:
    """Ask which of the users are left alone (in quarantine, or without consent), and who wait to be rebuilt under this
    version of the reference statistics: nobody, if it is no longer in force. What is returned gives the answer, which
    in a pipeline comes with that to other questions."""
    ids = list(user_ids)
    statement = f"""
        SELECT user_id, NULL FROM quarantined_users WHERE user_id = ANY(%s)
        UNION ALL SELECT user_id, NULL FROM users WHERE user_id = ANY(%s) AND {REFUSED}
        UNION ALL SELECT user_id, xmin::text FROM pending_users WHERE user_id = ANY(%s) AND reason = %s
          AND (SELECT coalesce(max(version), 0) FROM reference_statistics) = %s"""
    cursor = raw(connection).execute(statement, (ids, ids, ids, str(Reason.REBUILD), reference_version))

    def answer() -> tuple[set[str], PendingUsers]:
        rows = cursor.fetchall()
        waiting = [row for row in rows if row[1] is not None]
        return {row[0] for row in rows if row[1] is None}, PendingUsers(
            tuple(row[0] for row in waiting), tuple(row[1] for row in waiting)
        )

    return answer


def count_quarantined(connection: Connection) -> int:
    """How many users are left alone."""
    row = raw(connection).execute("SELECT count(*) FROM quarantined_users").fetchone()
    return 0 if row is None else row[0]


_NEW = f"(SELECT coalesce(%s::pg_snapshot, current_setting('{_GLANCED}', true)::pg_snapshot))"
_DELTA = f"pg_visible_in_snapshot(txid, {_NEW}) AND type = ANY(%s) AND {PARTITION_OF_USER} = ANY(%s)"


def _delta_values(partitions: Sequence[int], new: str | None) -> list[object]:
    return [new, list(SIGNALS), list(partitions)]


def _between(old: str) -> str:
    """SQL: `txid` is not visible in `old`, as two ranges that an index answers: begun later, or in progress then."""
    snapshot = Snapshot.parse(old)
    later = f"txid >= '{snapshot.xmax}'::xid8"
    if not snapshot.in_progress:
        return later
    listed = ", ".join(f"'{xid}'::xid8" for xid in snapshot.in_progress)
    return f"({later} OR txid IN ({listed}))"
