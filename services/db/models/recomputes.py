"""A full recompute that several processes share: the run, and the parts that whoever is free takes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import BigInteger

from services.db.models.base import Base
from services.db.models.live import PgSnapshot


class RecomputeRun(Base):
    """One run. `name`: of the work, of which one run is under way; `began`: what was visible when it was planned;
    `pool_users`, with so many `pool_events`, are those among whom neighbours are looked for."""

    __tablename__ = "recompute_runs"

    run_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(unique=True)
    as_of: Mapped[datetime]
    from_states: Mapped[bool]
    reference_version: Mapped[int]
    began: Mapped[str] = mapped_column(PgSnapshot)
    pool_users: Mapped[list[str]]
    pool_events: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class RecomputePart(Base):
    """Some users of a run. Whoever computes them holds the row's lock, and then writes the `report`."""

    __tablename__ = "recompute_parts"
    __table_args__ = (Index("ix_recompute_parts_open", "run_id", "part", postgresql_where=text("report IS NULL")),)

    run_id: Mapped[UUID] = mapped_column(ForeignKey("recompute_runs.run_id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    user_ids: Mapped[list[str]]
    events: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[dict[str, Any] | None]
