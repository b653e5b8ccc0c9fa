"""Background jobs, as `GET /v1/jobs/{id}` and `portrait status` show them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import REAL

from services.db.models.base import Base


class Job(Base):
    """One asked-for piece of work. `key` identifies the request: while one is open, the same asked again joins it."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("uq_jobs_open_key", "key", unique=True, postgresql_where=text("status IN ('queued', 'running')")),
        Index(None, "created_at"),
    )

    job_id: Mapped[UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    what: Mapped[str]
    key: Mapped[str]
    parameters: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    status: Mapped[str] = mapped_column(server_default=text("'queued'"))
    progress: Mapped[float] = mapped_column(REAL, server_default=text("0"))
    result: Mapped[dict[str, Any] | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]


class Checkpoint(Base):
    """How far a background reader has come; `value` is its own business (a transaction id, for one)."""

    __tablename__ = "checkpoints"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
