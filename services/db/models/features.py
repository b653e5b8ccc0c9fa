"""The feature tables that Feast reads: one row an entity and event timestamp, so that joins are point-in-time exact."""

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import REAL, LargeBinary, Text

from feature_repo import names
from services.db.models.base import Base


class FeatureRow:
    """Columns every feature table has. `event_timestamp`: as of when the values hold; `created`: when written."""

    event_timestamp: Mapped[datetime] = mapped_column(primary_key=True)
    created: Mapped[datetime] = mapped_column(server_default=text("now()"))


class BehaviourFeatures(FeatureRow, Base):
    """Windowed counters and statistics of a user; the columns are `names.BEHAVIOUR_FEATURES`, null where undefined."""

    __tablename__ = names.BEHAVIOUR_TABLE
    __table_args__ = (Index(None, "event_timestamp"),)

    user_id: Mapped[str] = mapped_column(primary_key=True)


for _name in names.BEHAVIOUR_FEATURES:
    setattr(BehaviourFeatures, _name, Column(_name, REAL))


class ProfileFeatures(FeatureRow, Base):
    """The profile of a user. Vectors are little-endian float16 bytes, L2-normalised; null where there is none."""

    __tablename__ = names.PROFILE_TABLE
    __table_args__ = (Index(None, "event_timestamp"),)

    user_id: Mapped[str] = mapped_column(primary_key=True)
    confidence: Mapped[float] = mapped_column(REAL)
    lifecycle: Mapped[str]
    event_count: Mapped[int]
    newest_event: Mapped[datetime | None]
    interests: Mapped[list[Any]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]])
    recent_items: Mapped[list[Any]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]])
    long_term: Mapped[bytes | None] = mapped_column(LargeBinary)
    short_term: Mapped[bytes | None] = mapped_column(LargeBinary)
    space: Mapped[str | None] = mapped_column(Text)


class AffinityFeatures(FeatureRow, Base):
    """Smoothed category, brand and price affinities. `categories` and `brands` are `[[name, weight], …]`."""

    __tablename__ = names.AFFINITY_TABLE
    __table_args__ = (Index(None, "event_timestamp"),)

    user_id: Mapped[str] = mapped_column(primary_key=True)
    categories: Mapped[list[Any]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]])
    brands: Mapped[list[Any]] = mapped_column(type_=Base.type_annotation_map[dict[str, Any]])
    price_typical: Mapped[float | None] = mapped_column(REAL)
    price_low: Mapped[float | None] = mapped_column(REAL)
    price_high: Mapped[float | None] = mapped_column(REAL)


class ServingFeatures(FeatureRow, Base):
    """The packed portrait that one online read serves (`services.features.portrait`)."""

    __tablename__ = names.SERVING_TABLE
    __table_args__ = (Index(None, "event_timestamp"),)

    user_id: Mapped[str] = mapped_column(primary_key=True)
    packed: Mapped[bytes] = mapped_column(LargeBinary)


class ItemEngagement(FeatureRow, Base):
    """How users engage with an item; the columns are `names.ENGAGEMENT_FEATURES`."""

    __tablename__ = names.ENGAGEMENT_TABLE
    __table_args__ = (Index(None, "event_timestamp"),)

    item_id: Mapped[str] = mapped_column(primary_key=True)


for _name in names.ENGAGEMENT_FEATURES:
    setattr(ItemEngagement, _name, Column(_name, REAL))


class ReferenceStatistics(Base):
    """Versioned statistics of the whole shop that event weights refer to; a new version recomputes the profiles.

    `value` holds category dwell medians, position propensities, event importances and priors.
    """

    __tablename__ = "reference_statistics"

    version: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
