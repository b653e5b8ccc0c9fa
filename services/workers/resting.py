"""A worker's child that has had nothing to do for a while ends, and a small one takes its place.

What torch, Feast and models take, 350 to 550 MB a child, is free again while nobody needs it; the next job loads them
anew in some seconds. The pool takes such an end for that of a child it has recycled. A message that the child has just
taken and not yet begun counts as lost with it: it is acknowledged late, so it is delivered again.
"""

import os
import sys
import threading
from collections.abc import Callable

from billiard import current_process
from billiard.pool import EX_RECYCLE
from celery.signals import task_postrun, task_prerun

HEAVY = ("torch", "feast")
"""A child that has loaded none of these is as small as its successor would be."""


class Rest:
    """Ends the process after `idle_s` seconds without a task, once a task has loaded something heavy."""

    def __init__(self, idle_s: float, end: Callable[[], None], is_heavy: Callable[[], bool]) -> None:
        self._idle_s, self._end, self._is_heavy = idle_s, end, is_heavy
        self._lock = threading.Lock()
        self._running = 0
        self._timer: threading.Timer | None = None

    def begin(self) -> None:
        """A task begins."""
        with self._lock:
            self._running += 1
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def done(self) -> None:
        """A task has ended."""
        with self._lock:
            self._running -= 1
            if self._running or not self._is_heavy():
                return
            timer = threading.Timer(self._idle_s, lambda: self._look(timer))
            timer.daemon = True
            timer.start()
            self._timer = timer

    def _look(self, timer: threading.Timer) -> None:
        with self._lock:  # held to the end: a task that begins now waits, and is not begun
            if self._timer is timer:
                self._end()


def rest_when_idle(idle_s: float) -> None:
    """End this child of the prefork pool after `idle_s` seconds without a task; never where that is 0.

    The solo pool too says that a process begins, but means the worker itself, which must stay.
    """
    if not idle_s or not _in_a_child():
        return
    rest = Rest(idle_s, _leave, lambda: any(name in sys.modules for name in HEAVY))
    task_prerun.connect(lambda **_: rest.begin(), weak=False)
    task_postrun.connect(lambda **_: rest.done(), weak=False)


def _in_a_child() -> bool:
    return current_process().name != "MainProcess"


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EX_RECYCLE)
