"""A heavy child ends once it has been idle for long enough, and never while a task runs."""

import threading

import pytest
from billiard import get_context
from celery.signals import task_postrun, task_prerun

from services.workers.resting import Rest, rest_when_idle

SOON, LATE = 0.05, 5.0


def test_an_idle_heavy_child_ends():
    ended = threading.Event()
    rest = Rest(SOON, ended.set, lambda: True)
    rest.begin()
    assert not ended.wait(4 * SOON), "a task was running"
    rest.done()
    assert ended.wait(LATE)


def test_a_task_that_begins_in_time_keeps_the_child():
    ended = threading.Event()
    rest = Rest(SOON, ended.set, lambda: True)
    for _ in range(5):
        rest.begin()
        rest.done()
    rest.begin()
    assert not ended.wait(4 * SOON)


def test_a_light_child_stays():
    ended = threading.Event()
    rest = Rest(SOON, ended.set, lambda: False)
    rest.begin()
    rest.done()
    assert not ended.wait(4 * SOON)


def test_a_child_that_never_worked_stays():
    ended = threading.Event()
    Rest(SOON, ended.set, lambda: True)
    assert not ended.wait(4 * SOON)


def listeners() -> int:
    return len(task_prerun.receivers) + len(task_postrun.receivers)


def test_a_worker_that_runs_its_tasks_itself_never_rests():
    before = listeners()
    rest_when_idle(60.0)  # as the solo pool has it called
    assert listeners() == before


@pytest.mark.parametrize("idle_s, more", [(60.0, 2), (0.0, 0)])
def test_a_child_of_the_pool_rests_where_it_is_to(idle_s: float, more: int):
    def child() -> None:
        before = listeners()
        rest_when_idle(idle_s)
        raise SystemExit(listeners() - before)

    process = get_context("fork").Process(target=child)
    process.start()
    process.join(LATE)
    assert process.exitcode == more
