"""What keeps item engagement live: the sums of each item, how far they are, the queue of items."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Column, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger, Double

from services.db.models.base import Base
from services.db.models.live import PgSnapshot

ITEM_SUMS = (
    *("views_1d", "views_7d", "views_30d", "clicks_1d", "clicks_7d", "clicks_30d", "carts_30d"),
    *("purchases_7d", "purchases_30d", "purchases_total", "exposure", "recent", "month"),
    *("rating_sum", "rating_count", "sentiment_sum", "sentiment_count", "users_total", "decayed"),
)
"""The sums of an item, `services.profiles.engagement_sums.STATE_COLUMNS`."""


class ItemState(Base):
    """The engagement of one item: the sums over exactly its events that `item_tail.snapshot` shows, as of its `as_of`.

    `decayed` is as of `newest`, the time of the item's newest event.
    """

    __tablename__ = "item_states"

    item_id: Mapped[str] = mapped_column(primary_key=True)
    newest: Mapped[datetime]


for _name in ITEM_SUMS:
    setattr(ItemState, _name, Column(_name, Double, nullable=False))


class ItemTail(Base):
    """How far item states are: one row, `items`. Whoever updates them locks this table until the commit.

    `basis` names the weights they were summed with; `ticks` counts the updates, so that an owner sees another's.
    """

    __tablename__ = "item_tail"

    name: Mapped[str] = mapped_column(primary_key=True)
    snapshot: Mapped[str] = mapped_column(PgSnapshot, server_default=text("'1:1:'"))
    as_of: Mapped[datetime | None]
    basis: Mapped[str | None]
    ticks: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    owner: Mapped[str | None]
    ticked_at: Mapped[datetime | None]


class PendingItem(Base):
    """An item to be summed again from all its events (`rebuild`) or to be written online again (`publish`).

    Triggers on `events` write the first kind, in the transaction that deletes or changes events. Requests are only
    ever appended, so that nobody waits for a tick.
    """

    __tablename__ = "pending_items"
    __table_args__ = (CheckConstraint("reason IN ('rebuild', 'publish')", name="reason"),)

    ticket: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    item_id: Mapped[str]
    reason: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class ServedExposure(Base):
    """Examined places in the lists that Portrait served in the last 30 days; the features job writes it."""

    __tablename__ = "served_exposure"

    item_id: Mapped[str] = mapped_column(primary_key=True)
    exposure: Mapped[float] = mapped_column(Double)
