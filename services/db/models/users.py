"""What the shop says about its users; the portrait itself is in the feature tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from services.db.models.base import Base


class User(Base):
    """Attributes and consent. Users without a row are known from their events alone.

    `consent` is an object of booleans; `{"personalisation": false}` turns portraits off for the user.
    """

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    attributes: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    consent: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
