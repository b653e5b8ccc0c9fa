"""A duty has one child at a time, and is free again when that child ends, however it ends."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection

from services.workers.duties import Duty, duty

fork = multiprocessing.get_context("fork")


def _hold(which: Duty, channel: Connection) -> None:
    with duty(which) as free:
        channel.send(free)
        channel.recv()


class Child:
    """A process forked from this one that takes a duty."""

    def __init__(self, which: Duty) -> None:
        self._channel, theirs = fork.Pipe()
        self.process = fork.Process(target=_hold, args=(which, theirs), daemon=True)
        self.process.start()
        self.free = self._channel.recv()

    def end(self) -> None:
        self._channel.send(None)
        self.process.join()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()


def test_one_child_at_a_time_and_each_duty_for_itself():
    first, second, other = Child(Duty.PORTRAITS), Child(Duty.PORTRAITS), Child(Duty.ENGAGEMENT)
    try:
        assert (first.free, second.free, other.free) == (True, False, True)
        first.end()
        third = Child(Duty.PORTRAITS)
        assert third.free
        third.end()
    finally:
        second.end()
        other.end()


def test_a_duty_of_a_killed_child_is_free():
    first = Child(Duty.ENGAGEMENT)
    first.kill()
    second = Child(Duty.ENGAGEMENT)
    assert second.free
    second.end()


def test_a_duty_is_over_with_its_block():
    with duty(Duty.PORTRAITS) as free:
        assert free
    child = Child(Duty.PORTRAITS)
    assert child.free
    child.end()
