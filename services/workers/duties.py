"""Duties: tasks that run until their worker ends, each in one of its children.

Each is asked for again and again, so that a child that died is replaced. A request that reaches another child of the
same worker finds the duty taken, and is over at once.
"""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Duty(IntEnum):
    """What a child of the worker of queue `live` does for good."""

    PORTRAITS = 0
    ENGAGEMENT = 1


_TAKEN = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
"""Nameless, and made when the parent imports this module, before it forks: its children lock one byte for each duty.
Record locks belong to a process, and the kernel takes them back when it dies, however it dies."""


@contextmanager
def duty(which: Duty) -> Iterator[bool]:
    """Take the duty, for the length of the block. Whether it was free among this worker's children."""
    try:
        fcntl.lockf(_TAKEN, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, which)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.lockf(_TAKEN, fcntl.LOCK_UN, 1, which)
