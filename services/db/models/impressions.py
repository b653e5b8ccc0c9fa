"""What was shown, and by what it was ranked: clicks are attributed to it, and rankers are trained on it."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import REAL, Integer, LargeBinary

from services.db.models.base import Base


class Impression(Base):
    """One item of one served list. `propensity` is the probability with which this item was put here."""

    __tablename__ = "impressions"
    __table_args__ = (Index(None, "user_id", "timestamp"), Index(None, "timestamp"))

    request_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    item_id: Mapped[str]
    user_id: Mapped[str]
    surface: Mapped[str | None]
    timestamp: Mapped[datetime]
    score: Mapped[float] = mapped_column(REAL)
    propensity: Mapped[float] = mapped_column(REAL, server_default=text("1"))
    sources: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    model: Mapped[str]


class ServedRequest(Base):
    """How one list was ranked: all that is needed to compute its features again (docs/adr/0008).

    `portrait_at`: the version of the portrait that was read, null for a stranger; `model_version`: the artefact that
    answered; `request`: JSON of what was asked; `features`: little-endian float32 (items, columns), in the order of the
    list, whose columns `feature_hash` names.
    """

    __tablename__ = "served_requests"
    __table_args__ = (Index(None, "timestamp", "request_id"), Index(None, "user_id"))

    request_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    timestamp: Mapped[datetime]
    portrait_at: Mapped[datetime | None]
    snapshot: Mapped[str]
    model_version: Mapped[str]
    feature_hash: Mapped[str]
    request: Mapped[bytes] = mapped_column(LargeBinary)
    features: Mapped[bytes] = mapped_column(LargeBinary)
