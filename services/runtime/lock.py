"""One supervisor a home: a lock that the kernel frees when its holder dies, however it dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from services.core.paths import HomePaths
from services.runtime.errors import AlreadyRunning


class HomeLock:
    """Exclusive lock of a home, as a context manager. Raises AlreadyRunning when another process holds it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._path = HomePaths(home).run / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(
                f"Portrait already runs on {self.home}: see `portrait status`, or stop it with `portrait down`"
            ) from None
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
