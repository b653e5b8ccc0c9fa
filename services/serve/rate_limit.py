"""So many requests a second for each caller: a token bucket for each API key, or address where no key is needed."""

import time
from collections import OrderedDict
from collections.abc import Callable

MAX_CALLERS = 10_000
"""Buckets kept at once. The one unused for longest goes first; by then it is full again or nearly so."""


class RateLimit:
    """Token buckets of one process. Each holds two seconds' worth, so that short bursts pass."""

    def __init__(
        self,
        per_second: float,
        *,
        max_callers: int = MAX_CALLERS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.per_second = per_second
        self._capacity = max(1.0, 2 * per_second)
        self._max_callers = max_callers
        self._clock = clock
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, caller: bytes) -> float:
        """Take a token of the caller's. 0 where there was one, else the seconds until there is."""
        now = self._clock()
        tokens, at = self._buckets.pop(caller, (self._capacity, now))
        tokens = min(self._capacity, tokens + (now - at) * self.per_second)
        allowed = tokens >= 1.0
        self._buckets[caller] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._max_callers:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - tokens) / self.per_second
