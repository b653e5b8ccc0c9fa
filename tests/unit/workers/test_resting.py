"""A heavy child ends once it has been idle for long enough, and never while a task runs."""

import threading

from services.workers.resting import Rest

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
