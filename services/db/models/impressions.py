"""What was shown: the served lists that clicks are attributed to and rankers are trained on."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import REAL, Integer

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
