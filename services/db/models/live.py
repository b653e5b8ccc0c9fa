"""What keeps portraits live: the state of each user, the queue of users, the partitions of the tail."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger, LargeBinary, SmallInteger, UserDefinedType

from services.db.models.base import Base
from services.db.models.events import Xid8

PARTITION_OF_USER = "(hashtext(user_id) & 15)"
"""SQL: the partition of the tail that a user belongs to, 0 to 15."""


class PgSnapshot(UserDefinedType):
    """PostgreSQL's `pg_snapshot`: which transactions are visible, as `xmin:xmax:in,progress`."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "pg_snapshot"


class UserState(Base):
    """The mergeable state of one user: the fold of exactly the user's events whose `txid` is visible in `snapshot`.

    `totals`, `items`, `item_ids`, `log` as `services.profiles.state_codec` writes them; `packed` is the portrait that
    was read out of them as of `as_of`, with the `neighbours` of the last profiles job.
    """

    __tablename__ = "user_states"
    __table_args__ = (Index("ix_user_states_partition_updated_at", text(PARTITION_OF_USER), "updated_at"),)

    user_id: Mapped[str] = mapped_column(primary_key=True)
    totals: Mapped[bytes] = mapped_column(LargeBinary)
    items: Mapped[bytes] = mapped_column(LargeBinary)
    item_ids: Mapped[bytes] = mapped_column(LargeBinary)
    log: Mapped[bytes] = mapped_column(LargeBinary)
    neighbours: Mapped[bytes | None] = mapped_column(LargeBinary)
    packed: Mapped[bytes] = mapped_column(LargeBinary)
    snapshot: Mapped[str] = mapped_column(PgSnapshot)
    reference_version: Mapped[int]
    as_of: Mapped[datetime]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class PendingUser(Base):
    """A user whose portrait is to be made again from all events (`rebuild`), or to be written online again (`publish`).

    Rows are written by `services.db.pending.enqueue`, in the transaction that makes them necessary.
    """

    __tablename__ = "pending_users"
    __table_args__ = (
        CheckConstraint("reason IN ('rebuild', 'publish')", name="reason"),
        Index("ix_pending_users_partition_requested_at", text(PARTITION_OF_USER), "requested_at"),
    )

    user_id: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class TailPartition(Base):
    """One of the 16 partitions of users: who tails it, and how far.

    `fence` grows with each new owner. Events visible in `snapshot` have been seen, and of the catalogue's changes those
    visible in `catalogue`. `mark` and `store_run_id` are what was last written to the online store, and which server it
    was.
    """

    __tablename__ = "tail_partitions"

    partition: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    owner: Mapped[str | None]
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    expires_at: Mapped[datetime | None]
    snapshot: Mapped[str] = mapped_column(PgSnapshot, server_default=text("'1:1:'"))
    catalogue: Mapped[str] = mapped_column(PgSnapshot, server_default=text("'1:1:'"))
    mark: Mapped[datetime | None]
    store_run_id: Mapped[str | None]


class TailOwner(Base):
    """A process that tails, or would: by their number the partitions are shared out."""

    __tablename__ = "tail_owners"

    owner: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


class CatalogueChange(Base):
    """An item whose row or vector changed, and the transaction that did it. Triggers write these rows."""

    __tablename__ = "catalogue_changes"
    __table_args__ = (Index(None, "txid"),)

    change: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    item_id: Mapped[str]
    txid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    changed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class QuarantinedUser(Base):
    """A user whose events raise: left alone until a rebuild succeeds."""

    __tablename__ = "quarantined_users"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    error: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=text("now()"))
