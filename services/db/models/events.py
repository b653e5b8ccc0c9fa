"""The event log, the source of truth of everything Portrait derives."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import REAL, BigInteger, Integer, UserDefinedType

from services.db.models.base import Base


class Xid8(UserDefinedType):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


class EventKey(Base):
    """One row an accepted event: what makes the caller's event id unique across the monthly partitions.

    `event_key` is the 128-bit BLAKE2b digest of the event id (`services.db.event_keys.event_key`); `timestamp` leads to
    the partition that holds the event.
    """

    __tablename__ = "event_keys"

    event_key: Mapped[UUID] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime]


class Event(Base):
    """One event, partitioned by month of `timestamp` (event time, UTC).

    `txid` is the transaction that committed it: a tail reads `txid < pg_snapshot_xmin(pg_current_snapshot())` in
    `(txid, sequence)` order and can never skip a transaction that commits late.
    `sentiment` (−1 to 1) is filled by a worker for reviews.
    `synthetic_time` marks events whose source had an order but no times.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "user_id", "timestamp"),
        Index(None, "item_id", "user_id"),
        Index(None, "timestamp", postgresql_where=text("item_id IS NOT NULL")),
        Index(None, "txid", "sequence"),
        Index("ix_events_unscored", "timestamp", postgresql_where=text("text IS NOT NULL AND sentiment IS NULL")),
        {"postgresql_partition_by": "RANGE (timestamp)"},
    )

    event_key: Mapped[UUID] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime] = mapped_column(primary_key=True)
    event_id: Mapped[str]
    user_id: Mapped[str]
    item_id: Mapped[str | None]
    type: Mapped[str]
    session_id: Mapped[str | None]
    request_id: Mapped[str | None]
    surface: Mapped[str | None]
    position: Mapped[int | None] = mapped_column(Integer)
    dwell_ms: Mapped[int | None] = mapped_column(BigInteger)
    depth: Mapped[float | None] = mapped_column(REAL)
    quantity: Mapped[int | None] = mapped_column(Integer)
    price: Mapped[float | None]
    rating: Mapped[float | None] = mapped_column(REAL)
    text: Mapped[str | None]
    query: Mapped[str | None]
    sentiment: Mapped[float | None] = mapped_column(REAL)
    synthetic_time: Mapped[bool] = mapped_column(server_default=text("false"))
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    txid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    sequence: Mapped[int] = mapped_column(BigInteger, server_default=text("nextval('events_sequence')"))
