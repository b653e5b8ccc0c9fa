"""The stored engagement state of items, and the lock under which one tick at a time updates it.

A tick is one REPEATABLE READ transaction: its snapshot is what `item_tail.snapshot` says afterwards, and everything it
reads (events, deletions, requests) is of that one moment. The lock is the table's, taken before the snapshot, and dies
with its connection: there is no owner that could be stale.
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl
import psycopg
from sqlalchemy import Connection

from services.db.copy import copy_out, upsert
from services.db.models.item_states import ITEM_SUMS
from services.db.session import raw

COLUMNS = ("item_id", "newest", *ITEM_SUMS)
SERVED_CHECKPOINT = "served_exposure"


@dataclass(frozen=True)
class ItemProgress:
    """How far item states are: `snapshot` and `as_of` say of which events they are the sums, `basis` by which weights.

    `ticks` changes with every update. `owner_rests_s`: how long ago the `owner` ticked last.
    """

    snapshot: str
    as_of: datetime | None
    basis: str | None
    ticks: int
    owner: str | None
    owner_rests_s: float | None

    def owned_by_another(self, me: str | None, seconds: float) -> bool:
        """Whether somebody else keeps the states and ticked in the last `seconds`: not in the future either, which is
        a clock that was set back since."""
        rests = self.owner_rests_s
        return self.owner not in (None, me) and rests is not None and abs(rests) < seconds


def lock_item_tail(connection: Connection, *, wait_s: float = 0.0) -> bool:
    """Be the only one to update item states until this transaction ends; False when another is at it.

    Must come first in the transaction, before anything takes its snapshot. `wait_s`: how long to wait for the other.
    After False the transaction can only be rolled back.
    """
    driver = raw(connection)
    driver.execute(f"SET LOCAL lock_timeout = {max(1, round(wait_s * 1_000))}")
    try:
        driver.execute("LOCK TABLE item_tail IN EXCLUSIVE MODE" + ("" if wait_s else " NOWAIT"))
    except psycopg.errors.LockNotAvailable:
        return False
    driver.execute("SET LOCAL lock_timeout = 0")
    return True


def read_progress(connection: Connection) -> ItemProgress:
    """How far the item states are."""
    row = (
        raw(connection)
        .execute(
            "SELECT snapshot::text, as_of, basis, ticks, owner, "
            "extract(epoch FROM clock_timestamp() - ticked_at)::float8 FROM item_tail WHERE name = 'items'"
        )
        .fetchone()
    )
    assert row is not None
    return ItemProgress(*row)


def write_progress(connection: Connection, as_of: datetime, basis: str, owner: str | None) -> int:
    """Say that the states hold for this transaction's snapshot. Returns the number of the update.

    `owner` None: the owner stays who it was, and is taken to have rested.
    """
    row = (
        raw(connection)
        .execute(
            "UPDATE item_tail SET snapshot = pg_current_snapshot(), as_of = %(as_of)s, basis = %(basis)s, "
            "owner = coalesce(%(owner)s::text, owner), ticks = ticks + 1, "
            "ticked_at = CASE WHEN %(owner)s::text IS NULL THEN ticked_at ELSE clock_timestamp() END "
            "WHERE name = 'items' RETURNING ticks",
            {"as_of": as_of, "basis": basis, "owner": owner},
        )
        .fetchone()
    )
    assert row is not None
    return row[0]


def release_items(connection: Connection, owner: str) -> None:
    """Have no owner, if it was this one."""
    raw(connection).execute("UPDATE item_tail SET owner = NULL WHERE name = 'items' AND owner = %s", (owner,))


def forget_basis(connection: Connection) -> None:
    """Have the next tick sum all items anew."""
    raw(connection).execute("UPDATE item_tail SET basis = NULL WHERE name = 'items'")


def load_item_states(connection: Connection) -> pl.DataFrame:
    """All states: `item_id`, `newest`, `ITEM_SUMS`."""
    return pl.DataFrame(copy_out(connection, f"SELECT {', '.join(COLUMNS)} FROM item_states"))


def write_item_states(connection: Connection, rows: pl.DataFrame) -> int:
    """Store the states of some items."""
    return upsert(connection, "item_states", rows, key=["item_id"])


def delete_item_states(connection: Connection, item_ids: list[str] | None = None) -> int:
    """Delete the states of some items, or of all (None)."""
    if item_ids is None:
        return raw(connection).execute("DELETE FROM item_states").rowcount
    return raw(connection).execute("DELETE FROM item_states WHERE item_id = ANY(%s)", (item_ids,)).rowcount


def replace_served_exposure(connection: Connection, rows: pl.DataFrame) -> None:
    """Store the exposure (`item_id`, `exposure`) that Portrait's own lists gave, in place of the earlier."""
    driver = raw(connection)
    driver.execute("DELETE FROM served_exposure WHERE item_id <> ALL(%s)", (rows["item_id"].to_list(),))
    changed = upsert(connection, "served_exposure", rows, key=["item_id"])
    if changed or rows.is_empty():
        driver.execute(
            "INSERT INTO checkpoints (name, value) VALUES (%s, jsonb_build_object('at', clock_timestamp())) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now()",
            (SERVED_CHECKPOINT,),
        )


def served_mark(connection: Connection) -> str:
    """Changes when `replace_served_exposure` changed something."""
    found = raw(connection).execute("SELECT value::text FROM checkpoints WHERE name = %s", (SERVED_CHECKPOINT,))
    row = found.fetchone()
    return "" if row is None else row[0]


def read_served_exposure(connection: Connection) -> pl.DataFrame:
    """`item_id`, `exposure` as stored."""
    return pl.DataFrame(copy_out(connection, "SELECT item_id, exposure FROM served_exposure"))
