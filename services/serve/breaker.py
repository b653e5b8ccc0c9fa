"""A circuit breaker (Nygard, "Release It!", 2007): what fails or hangs is left alone, and tried again now and then."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Circuit(StrEnum):
    """`closed`: calls go through; `open`: nothing is called; `half-open`: one call tries whether it works again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class BreakerConfig:
    """It opens after `tolerated` failures in a row, for `first_s`, twice as long after each trial that failed, up to
    `longest_s`."""

    tolerated: int = 3
    first_s: float = 0.5
    longest_s: float = 8.0


class Breaker:
    """Says whether to call. Every allowed call must be followed by `succeeded`, `came_late` or `failed`."""

    def __init__(self, config: BreakerConfig | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.config = BreakerConfig() if config is None else config
        self._clock = clock
        self._failures = 0
        self._pause_s = self.config.first_s
        self._opened_at: float | None = None
        self._trying = False

    @property
    def state(self) -> Circuit:
        if self._opened_at is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._trying or self._clock() < self._opened_at + self._pause_s else Circuit.HALF_OPEN

    def allows(self) -> bool:
        """Whether to call now. While half open, True once: for the trial."""
        state = self.state
        if state is Circuit.HALF_OPEN:
            self._trying = True
        return state is not Circuit.OPEN

    def succeeded(self) -> None:
        """A call was answered in time: it works."""
        self._failures, self._pause_s = 0, self.config.first_s
        self._opened_at, self._trying = None, False

    def came_late(self) -> None:
        """A call was answered after all, though too late: it lives, and may be tried again at once."""
        if self._opened_at is not None:
            self._opened_at, self._trying = self._clock() - self._pause_s, False

    def failed(self) -> None:
        """A call failed or took too long."""
        self._failures += 1
        if self._trying:
            self._pause_s = min(2 * self._pause_s, self.config.longest_s)
        elif self._opened_at is not None or self._failures < self.config.tolerated:
            return
        self._opened_at, self._trying = self._clock(), False
