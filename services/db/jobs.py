"""Background jobs: asked for once, run once, seen by anyone."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from services.core.types import JobStatus


@dataclass(frozen=True)
class JobRow:
    """One job as it stands. `progress` is 0 to 1."""

    job_id: UUID
    what: str
    parameters: dict[str, Any]
    status: str
    progress: float
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_COLUMNS = "job_id, what, parameters, status, progress, result, error, created_at, started_at, finished_at"


def job_key(what: str, parameters: dict[str, Any]) -> str:
    """Two requests with the same key ask for the same work."""
    return f"{what}:{json.dumps(parameters, sort_keys=True, separators=(',', ':'))}"


def request_job(connection: Connection, what: str, parameters: dict[str, Any] | None = None) -> tuple[UUID, bool]:
    """The job for this work and whether it is new: while the same work is queued or running, asking again joins it."""
    parameters = parameters or {}
    key = job_key(what, parameters)
    while True:
        created = connection.execute(
            text(
                "INSERT INTO jobs (what, key, parameters) VALUES (:what, :key, CAST(:parameters AS jsonb)) "
                "ON CONFLICT (key) WHERE status IN ('queued', 'running') DO NOTHING RETURNING job_id"
            ),
            {"what": what, "key": key, "parameters": json.dumps(parameters)},
        ).scalar()
        if created is not None:
            return created, True
        running = connection.execute(
            text("SELECT job_id FROM jobs WHERE key = :key AND status IN ('queued', 'running')"), {"key": key}
        ).scalar()
        if running is not None:
            return running, False


def get_job(connection: Connection, job_id: UUID) -> JobRow | None:
    """One job, or None."""
    row = connection.execute(text(f"SELECT {_COLUMNS} FROM jobs WHERE job_id = :id"), {"id": job_id}).one_or_none()
    return None if row is None else JobRow(*row)


def recent_jobs(connection: Connection, limit: int = 10) -> list[JobRow]:
    """The newest jobs first, open ones before ended ones."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM jobs ORDER BY status IN ('queued', 'running') DESC, created_at DESC LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [JobRow(*row) for row in rows]


def lock_job(connection: Connection, job_id: UUID) -> bool:
    """Own the job on this connection until it closes: False while another worker has it. Survives commits."""
    return bool(
        connection.execute(
            text("SELECT pg_try_advisory_lock(hashtextextended(CAST(:id AS text), 0))"), {"id": str(job_id)}
        ).scalar()
    )


def unlock_job(connection: Connection, job_id: UUID) -> None:
    """Give the job's lock back."""
    connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(CAST(:id AS text), 0))"), {"id": str(job_id)})


def start_job(connection: Connection, job_id: UUID) -> JobRow | None:
    """Mark an open job as running. None when it has ended already, so that a second delivery does nothing."""
    row = connection.execute(
        text(
            "UPDATE jobs SET status = 'running', started_at = coalesce(started_at, now()), heartbeat_at = now() "
            f"WHERE job_id = :id AND status IN ('queued', 'running') RETURNING {_COLUMNS}"
        ),
        {"id": job_id},
    ).one_or_none()
    return None if row is None else JobRow(*row)


def report_progress(connection: Connection, job_id: UUID, progress: float) -> None:
    """Record how far the job is, 0 to 1, and that its worker lives."""
    connection.execute(
        text("UPDATE jobs SET progress = :progress, heartbeat_at = now() WHERE job_id = :id AND status = 'running'"),
        {"id": job_id, "progress": min(max(progress, 0.0), 1.0)},
    )


def finish_job(
    connection: Connection, job_id: UUID, *, result: dict[str, Any] | None = None, error: str | None = None
) -> None:
    """End the job: done with its result, or failed with what to tell the person who asked."""
    connection.execute(
        text(
            "UPDATE jobs SET status = :status, progress = CASE WHEN :failed THEN progress ELSE 1 END, "
            "result = CAST(:result AS jsonb), error = :error, finished_at = now() WHERE job_id = :id"
        ),
        {
            "id": job_id,
            "status": JobStatus.FAILED if error else JobStatus.DONE,
            "failed": error is not None,
            "result": None if result is None else json.dumps(result, default=str),
            "error": error,
        },
    )


def stale_jobs(connection: Connection, *, quiet_seconds: float) -> list[tuple[UUID, str]]:
    """Open jobs that no worker has touched for a while: their message was lost, or their worker died."""
    rows = connection.execute(
        text(
            "SELECT job_id, what FROM jobs WHERE status IN ('queued', 'running') "
            "AND coalesce(heartbeat_at, created_at) < now() - make_interval(secs => :quiet) ORDER BY created_at"
        ),
        {"quiet": quiet_seconds},
    )
    return [(row.job_id, row.what) for row in rows]


def touch_job(connection: Connection, job_id: UUID) -> None:
    """Count the job as looked after from now, as when its message was sent again."""
    connection.execute(text("UPDATE jobs SET heartbeat_at = now() WHERE job_id = :id"), {"id": job_id})


def prune_jobs(connection: Connection, *, keep_days: int) -> int:
    """Remove jobs that ended more than `keep_days` ago; how many."""
    return connection.execute(
        text("DELETE FROM jobs WHERE finished_at < now() - make_interval(days => :days)"), {"days": keep_days}
    ).rowcount
