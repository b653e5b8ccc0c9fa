"""Searches as they were answered, and what is summed of them by query."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger, Integer

from services.db.models.base import Base
from services.db.models.events import Xid8


class Search(Base):
    """One answered search; its results are `impressions` of the same `request_id`.

    `query` as it was typed, `normalised` as it is counted; `user_id` null where nobody was named; `mode`: how it was
    retrieved; `total`: how many items matched; `clicked`: whether a click has been attributed to it.
    """

    __tablename__ = "searches"
    __table_args__ = (Index(None, "user_id", "timestamp"), Index(None, "timestamp"), Index(None, "txid"))

    request_id: Mapped[str] = mapped_column(primary_key=True)
    timestamp: Mapped[datetime]
    user_id: Mapped[str | None]
    surface: Mapped[str | None]
    query: Mapped[str]
    normalised: Mapped[str]
    corrected: Mapped[str | None]
    mode: Mapped[str]
    total: Mapped[int] = mapped_column(Integer)
    clicked: Mapped[bool] = mapped_column(server_default=text("false"))
    txid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))


class QueryStatistics(Base):
    """What came of one (normalised) query, summed over all searches.

    `clicked`: searches with a click; `positions` and `positioned`: sum and number of the clicked positions;
    `recent`: searches that fade (see `services.db.query_feedback`); `example`: as it was last typed.
    """

    __tablename__ = "query_statistics"
    __table_args__ = (Index(None, "recent"),)

    query: Mapped[str] = mapped_column(primary_key=True)
    example: Mapped[str]
    searches: Mapped[int] = mapped_column(BigInteger)
    zero_results: Mapped[int] = mapped_column(BigInteger)
    results: Mapped[int] = mapped_column(BigInteger)
    clicked: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    clicks: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    carts: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    purchases: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    positions: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    positioned: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    recent: Mapped[float]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class QueryItem(Base):
    """What people who asked a query did with an item they were shown; `weight` fades (`services.db.query_feedback`)."""

    __tablename__ = "query_items"

    query: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    clicks: Mapped[int] = mapped_column(BigInteger)
    carts: Mapped[int] = mapped_column(BigInteger)
    purchases: Mapped[int] = mapped_column(BigInteger)
    weight: Mapped[float]
    last_at: Mapped[datetime]
