"""The thread of item engagement outlives what fails, and ends when it is told to."""

import threading
from collections.abc import Callable
from datetime import datetime

import pytest

from services.core.errors import DependencyDown
from services.profiles.engagement_report import TickReport
from services.workers.engagement_thread import EngagementPace, EngagementThread

QUICK = EngagementPace(rest=0.0, rest_per_tick=0.0, longest_backoff=0.0)


class Script:
    """A tail that does what is scripted, then ticks for good and says so."""

    def __init__(self, *steps: Callable[[], TickReport]) -> None:
        self.steps = list(steps)
        self.done, self.interrupted = threading.Event(), threading.Event()
        self.released = 0

    def tick(self, now: datetime, *, if_free: bool) -> TickReport:
        assert if_free
        if not self.steps:
            self.done.set()
            return TickReport(entered=1, published=1)
        return self.steps.pop(0)()

    def interrupt(self) -> None:
        self.interrupted.set()

    def release(self) -> None:
        self.released += 1


def fails(error: Exception) -> Callable[[], TickReport]:
    def step() -> TickReport:
        raise error

    return step


@pytest.mark.parametrize("error", [DependencyDown("The store does not answer"), KeyError("a defect")])
def test_a_tick_that_fails_is_counted_and_tried_again(error: Exception) -> None:
    tail = Script(fails(error), fails(error))
    thread = EngagementThread(tail, QUICK)
    thread.start()
    assert tail.done.wait(30)
    thread.stop()
    fields = thread.status.fields()
    assert (fields["items_failures"], tail.released) == (2, 1)
    assert fields["items_events"] == fields["items_ticks"] > 0


def test_a_worker_that_leaves_engagement_to_another_reports_no_lag() -> None:
    tail = Script()
    thread = EngagementThread(tail, QUICK)
    thread._count(TickReport(busy=True))
    assert thread.status.fields()["items_lag_seconds"] == 0.0
    assert not thread.status.owns


def test_a_tick_that_does_not_end_is_broken_off() -> None:
    began = threading.Event()

    def long() -> TickReport:
        began.set()
        assert tail.interrupted.wait(30)
        raise DependencyDown("The statement was cancelled")

    tail = Script(long)
    thread = EngagementThread(tail, QUICK)
    thread.start()
    assert began.wait(30)
    thread.stop()
    assert (tail.released, thread.status.failures) == (1, 0)


def test_while_paused_nothing_ticks() -> None:
    tail = Script()
    thread = EngagementThread(tail, EngagementPace(rest=0.001, rest_per_tick=0.0))
    thread.paused = True
    thread.start()
    assert not tail.done.wait(0.05)
    thread.paused = False
    assert tail.done.wait(30)
    thread.stop()
