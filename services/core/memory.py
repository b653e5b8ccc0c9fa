"""Peak memory of one piece of work, not of the process's life; and giving back what it needed once."""

import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Start a new peak where the system can (Linux); elsewhere the process's own peak is reported."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """Peak resident memory since `reset_peak`, in MiB."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def without_collections() -> Iterator[None]:
    """No cycles of garbage are looked for within the block: where many objects are made that live on, and none lie in
    cycles, every look goes through all of them for nothing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def give_back() -> None:
    """Return freed memory to the system, a few milliseconds' work: glibc and Arrow's pool else keep what the largest
    piece of work so far has needed, in pages that few small things still lie on."""
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    """glibc's function; None under another C library."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
