"""Run one job exactly once at a time, whatever the broker delivers."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.core.memory import give_back, peak_mib, reset_peak
from services.db import jobs
from services.db.session import transaction

log = get_logger("workers")

Progress = Callable[[float], None]
Handler = Callable[[dict[str, Any], Progress], dict[str, Any]]


class ThrottledProgress:
    """Writes progress (0 to 1) to the job at most every `interval` seconds, in a transaction of its own."""

    def __init__(self, engine: Engine, job_id: UUID, interval: float = 0.5) -> None:
        self._engine, self._job_id, self._interval = engine, job_id, interval
        self._written_at = 0.0

    def __call__(self, progress: float) -> None:
        now = time.monotonic()
        if now - self._written_at < self._interval:
            return
        self._written_at = now
        with transaction(self._engine) as connection:
            jobs.report_progress(connection, self._job_id, progress)


def run_job(engine: Engine, job_id: UUID, handlers: dict[str, Handler]) -> bool:
    """Run the job's handler unless the job has ended or another worker holds it; True when it ran to its end.

    The lock is Postgres' and lives as long as this worker's connection: a killed worker frees it, and a message that
    is delivered twice finds it taken. An expected failure ends the job with its sentence; anything else ends it and
    is raised, so that it is seen in the worker's log.
    """
    with engine.connect() as owner:
        if not jobs.lock_job(owner, job_id):
            log.info("job-already-running", job_id=str(job_id))
            return False
        owner.commit()
        try:
            return _run_locked(engine, job_id, handlers)
        finally:
            jobs.unlock_job(owner, job_id)
            owner.commit()
            give_back()


def _run_locked(engine: Engine, job_id: UUID, handlers: dict[str, Handler]) -> bool:
    with transaction(engine) as connection:
        job = jobs.start_job(connection, job_id)
    if job is None:
        return False
    handler = handlers.get(job.what)
    if handler is None:
        _fail(engine, job_id, f"no worker of this version knows how to do {job.what!r}")
        return False
    reset_peak()
    began = time.monotonic()
    try:
        result = handler(job.parameters, ThrottledProgress(engine, job_id))
    except PortraitError as error:
        log.warning("job-failed", job_id=str(job_id), what=job.what, code=error.code, detail=error.detail)
        _fail(engine, job_id, error.detail)
        return False
    except Exception as error:
        log.exception("job-broke", job_id=str(job_id), what=job.what)  # Celery's own logger has no handler
        _fail(engine, job_id, f"unexpected {type(error).__name__}; the worker's log has the details")
        raise
    seconds = time.monotonic() - began
    measured = {"seconds": round(seconds, 3), "peak_mib": round(peak_mib(), 1)}
    with transaction(engine) as connection:
        jobs.finish_job(connection, job_id, result={**result, **measured})
    log.info("job-done", job_id=str(job_id), what=job.what, **measured)
    return True


def _fail(engine: Engine, job_id: UUID, sentence: str) -> None:
    with transaction(engine) as connection:
        jobs.finish_job(connection, job_id, error=sentence)
