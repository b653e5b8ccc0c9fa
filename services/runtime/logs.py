"""Bounded logs: a file that outgrew its bound is copied aside and emptied, whoever has it open."""

import os
import shutil
from pathlib import Path

LOG_BYTES = 16 * 1024 * 1024
"""Bound of one log; with the one copy kept, a part takes at most twice this."""


def bound_logs(folder: Path, limit: int = LOG_BYTES) -> list[Path]:
    """Copy-and-truncate every `*.log` above `limit` bytes; returns those.

    Writers keep their descriptors (all are opened for appending), adopted servers too. Lines written between copy
    and truncation are lost: that is the price of not standing between a server and its log.
    """
    bounded = []
    for path in folder.glob("*.log"):
        if path.stat().st_size > limit:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
            bounded.append(path)
    return bounded
