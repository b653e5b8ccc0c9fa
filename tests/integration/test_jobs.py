"""Jobs: asked for once, run once, honest about how they ended."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.core.errors import InvalidInput
from services.db import jobs
from services.db.session import make_engine, transaction
from services.workers.runner import Handler, run_job


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    yield engine
    with transaction(engine) as connection:
        connection.execute(text("TRUNCATE jobs"))
    engine.dispose()


def ask(engine: Engine, what: str = "profiles", parameters: dict[str, Any] | None = None):
    with transaction(engine) as connection:
        return jobs.request_job(connection, what, parameters)


def read(engine: Engine, job_id) -> jobs.JobRow:
    with transaction(engine) as connection:
        job = jobs.get_job(connection, job_id)
    assert job is not None
    return job


def counting() -> tuple[list[dict], dict[str, Handler]]:
    calls: list[dict] = []

    def handler(parameters, progress):
        calls.append(parameters)
        progress(0.5)
        return {"users": 3}

    return calls, {"profiles": handler}


def test_the_same_work_asked_twice_is_one_job_while_it_is_open(engine):
    first, created = ask(engine, parameters={"user_ids": ["a"]})
    second, created_again = ask(engine, parameters={"user_ids": ["a"]})
    other, created_other = ask(engine, parameters={"user_ids": ["b"]})
    assert (created, created_again, created_other) == (True, False, True)
    assert first == second != other


def test_work_asked_again_after_it_ended_is_a_new_job(engine):
    first, _ = ask(engine)
    run_job(engine, first, counting()[1])
    second, created = ask(engine)
    assert created and second != first


def test_a_job_delivered_twice_runs_once(engine):
    calls, handlers = counting()
    job_id, _ = ask(engine, parameters={"user_ids": ["a"]})
    assert run_job(engine, job_id, handlers) is True
    assert run_job(engine, job_id, handlers) is False
    assert calls == [{"user_ids": ["a"]}]
    job = read(engine, job_id)
    assert (job.status, job.progress, job.error) == ("done", 1.0, None)
    assert job.result is not None and job.result["users"] == 3 and job.result["peak_mib"] > 0


def test_a_job_another_worker_holds_is_left_alone(engine):
    calls, handlers = counting()
    job_id, _ = ask(engine)
    with engine.connect() as other_worker:
        assert jobs.lock_job(other_worker, job_id)
        assert run_job(engine, job_id, handlers) is False
        assert calls == []
        other_worker.invalidate()  # the other worker dies: its connection and with it the lock are gone, in a moment
    deadline = time.monotonic() + 10
    while not run_job(engine, job_id, handlers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_expected_failure_ends_the_job_with_its_sentence(engine):
    def handler(parameters, progress):
        raise InvalidInput("There is nothing to train on: import events first")

    job_id, _ = ask(engine, "train")
    assert run_job(engine, job_id, {"train": handler}) is False
    job = read(engine, job_id)
    assert (job.status, job.error) == ("failed", "There is nothing to train on: import events first")


def test_an_unexpected_failure_ends_the_job_and_is_raised(engine):
    def handler(parameters, progress):
        raise ZeroDivisionError("secret detail")

    job_id, _ = ask(engine)
    with pytest.raises(ZeroDivisionError):
        run_job(engine, job_id, {"profiles": handler})
    job = read(engine, job_id)
    assert job.status == "failed" and job.error is not None and "secret" not in job.error


def test_an_unknown_job_and_unknown_work_are_no_crash(engine):
    assert run_job(engine, uuid4(), {}) is False
    job_id, _ = ask(engine, "snapshot")
    assert run_job(engine, job_id, {}) is False
    assert read(engine, job_id).status == "failed"


def test_jobs_that_nobody_touched_are_found_and_touching_counts(engine):
    job_id, _ = ask(engine)
    with transaction(engine) as connection:
        connection.execute(text("UPDATE jobs SET created_at = now() - interval '2 minutes'"))
        assert jobs.stale_jobs(connection, quiet_seconds=60) == [(job_id, "profiles")]
        jobs.touch_job(connection, job_id)
        assert jobs.stale_jobs(connection, quiet_seconds=60) == []
