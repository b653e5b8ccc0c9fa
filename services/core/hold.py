"""A hold on a home: while a bulk load runs, the gateway says it is not ready and scheduled work waits."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.core.paths import HomePaths


@contextmanager
def hold(home: Path, reason: str) -> Iterator[None]:
    """Hold the home for the block. The hold of a process that died counts for nothing."""
    path = HomePaths(home).run / "hold.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": os.getpid(), "reason": reason}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def held(home: Path) -> str | None:
    """Why the home is held, or None."""
    try:
        hold_of = json.loads((HomePaths(home).run / "hold.json").read_text())
        os.kill(hold_of["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None
    return hold_of["reason"]
