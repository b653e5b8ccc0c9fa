"""The catalogue: what the shop sells."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models.base import Base


class Item(Base):
    """One product. A deleted item's row goes; its events stay."""

    __tablename__ = "items"
    __table_args__ = (Index(None, "updated_at"),)

    item_id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    description: Mapped[str | None]
    brand: Mapped[str | None]
    categories: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    price: Mapped[float | None]
    currency: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    image_urls: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    video_urls: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    available: Mapped[bool] = mapped_column(server_default=text("true"))
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
