"""A worker's child that is idle gives way to a small one; jobs asked for before, at and after that moment are done."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from celery import Celery
from own_process import ROOT, apply_definitions, variables
from sqlalchemy import Engine

from services.core.addresses import Addresses
from services.core.settings import Settings
from services.core.types import JobKind
from services.db import jobs
from services.db.session import make_engine, transaction
from services.workers import queues

IDLE_S, WITHIN_S = 2.0, 120.0
WORKER = ("-A", "services.workers.app", "worker", "-Q", queues.CPU, "--concurrency", "1", "--loglevel", "INFO")


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    made = make_engine(database.sqlalchemy_url)
    yield made
    made.dispose()


@pytest.fixture
def worker(database_settings: Settings, database: Addresses, tmp_path: Path) -> Iterator[psutil.Process]:
    apply_definitions(database_settings)
    environment = variables(database_settings) | {
        "PORTRAIT_BROKER_URL": database.broker_url,
        "PORTRAIT_WORKER_IDLE_S": str(IDLE_S),
    }
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", *WORKER, "-n", "rests@test"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        yield psutil.Process(process.pid)
        process.terminate()
        process.wait(timeout=60)
    assert "exited with" not in (tmp_path / "worker.log").read_text(), "the pool took a rest for a failure"


def test_an_idle_child_gives_way_and_no_job_is_lost(engine: Engine, worker: psutil.Process, database: Addresses):
    celery = Celery("asks", broker=database.broker_url, set_as_current=False)
    taken: dict[int, int] = {}
    for gap in (0.0, 0.9 * IDLE_S, IDLE_S, 1.1 * IDLE_S):
        time.sleep(gap)
        job = ask(engine, celery)
        assert eventually(lambda job=job: ended(engine, job)) == "done"
        (child,) = worker.children()
        taken[child.pid] = child.memory_full_info().uss
    rested = eventually(lambda: next((child for child in worker.children() if child.pid not in taken), None))
    assert rested.memory_full_info().uss < min(taken.values()) / 2


def ask(engine: Engine, celery: Celery) -> UUID:
    with transaction(engine) as connection:
        job, _ = jobs.request_job(connection, JobKind.PROFILES.value, {"user_ids": ["nobody"]})
    celery.send_task(queues.RUN_JOB, args=(str(job),), queue=queues.CPU)
    return job


def ended(engine: Engine, job: UUID) -> str | None:
    with transaction(engine) as connection:
        found = jobs.get_job(connection, job)
    return found.status if found is not None and found.status in ("done", "failed") else None


def eventually(look):
    end = time.monotonic() + WITHIN_S
    while (found := look()) is None:
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.02)
    return found
