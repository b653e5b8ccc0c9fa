"""Ask the workers for a job from the command line and watch it to its end."""

import time
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from services.cli.output import error_console
from services.core.addresses import Addresses
from services.core.errors import NotReady
from services.core.types import JobKind, JobStatus
from services.db import jobs
from services.db.session import make_engine, transaction
from services.workers.dispatch import Dispatcher

POLL_S = 0.2
UNTOUCHED_S = 120.0


class JobFailed(NotReady):
    """A job that the workers could not do; the sentence is the worker's."""

    status, code, title = 500, "job-failed", "The job failed"


def run_and_watch(
    addresses: Addresses, kind: JobKind, parameters: dict[str, Any] | None = None, *, label: str | None = None
) -> dict[str, Any]:
    """Request the job, show its progress on standard error, and return its result.

    Raises:
        JobFailed: the job ended as failed.
        NotReady: no worker took it for two minutes.
    """
    engine = make_engine(addresses.sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            job_id, created = jobs.request_job(connection, kind.value, parameters)
        if created:
            Dispatcher(addresses.broker_url).enqueue(job_id, kind.value)
        columns = (
            TextColumn("{task.description:<26}"),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=error_console()) as progress:
            bar = progress.add_task(label or kind.value, total=1.0)
            asked = time.monotonic()
            while True:
                with transaction(engine) as connection:
                    job = jobs.get_job(connection, job_id)
                assert job is not None  # jobs are kept for days
                progress.update(bar, completed=job.progress)
                if job.status == JobStatus.FAILED:
                    raise JobFailed(job.error or "The job failed without a word: see the worker's log")
                if job.status == JobStatus.DONE:
                    return job.result or {}
                if job.status == JobStatus.QUEUED and time.monotonic() - asked > UNTOUCHED_S:
                    raise NotReady(f"No worker took the job for {UNTOUCHED_S:.0f} s: see `portrait status`")
                time.sleep(POLL_S)
    finally:
        engine.dispose()
