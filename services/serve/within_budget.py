"""What another process answers for requests: from a cache, else asked within a time budget, else nothing.

The other process may be slow, starting or dead. A request waits for it no longer than its budget; an answer that comes
later fills the cache for the next one who asks the same.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from services.core.logging import get_logger
from services.serve.breaker import Breaker

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

log = get_logger("gateway")


class Outcome(StrEnum):
    """How the answer for one request came, or why it did not."""

    CACHED = "cached"
    ENCODED = "encoded"
    LATE = "late"
    """The encoder did not answer within the budget."""
    LEFT_ALONE = "left-alone"
    """It failed or was late before: it is not asked for a moment."""
    FAILED = "failed"
    OTHER_SPACE = "other-space"
    """It answers in another space than the items' (an encoder was exchanged, and the items are encoded anew)."""


@dataclass(frozen=True)
class Budget:
    """`budget_s`: how long a request waits; `kept`: answers in the cache; `under_way`: questions asked at the same
    time, more are left without an answer; `lost_s`: when an answer is no longer expected."""

    budget_s: float
    kept: int
    under_way: int = 64
    lost_s: float = 60.0


class WithinBudget(Generic[Key, Value]):
    """Used on the event loop's thread alone. Equal questions at the same time share one call."""

    def __init__(
        self,
        budget: Budget,
        failed: str,
        observe: Callable[[float], None],
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`failed`: what the log calls a call that failed; `observe` is told how many seconds each answer took."""
        self.budget, self._failed, self._observe, self._clock = budget, failed, observe, clock
        self.breaker = Breaker() if breaker is None else breaker
        self._cache: OrderedDict[Key, Value] = OrderedDict()
        self._tasks: dict[Key, asyncio.Task[Value | None]] = {}

    def __len__(self) -> int:
        """Answers in the cache."""
        return len(self._cache)

    async def get(
        self, key: Key, ask: Callable[[], Awaitable[Value]], usable: Callable[[Value], bool] = lambda _: True
    ) -> tuple[Value | None, Outcome]:
        """The answer and how it came. A cached one that is not `usable` (any more) is asked for again."""
        known = self._cache.get(key)
        if known is not None and usable(known):
            self._cache.move_to_end(key)
            return known, Outcome.CACHED
        task = self._tasks.get(key) or self._start(key, ask)
        if task is None:
            return None, Outcome.LEFT_ALONE
        try:
            found = await asyncio.wait_for(asyncio.shield(task), self.budget.budget_s)
        except TimeoutError:
            self.breaker.failed()
            return None, Outcome.LATE
        return found, Outcome.ENCODED if found is not None else Outcome.FAILED

    def _start(self, key: Key, ask: Callable[[], Awaitable[Value]]) -> "asyncio.Task[Value | None] | None":
        if len(self._tasks) >= self.budget.under_way or not self.breaker.allows():
            return None
        task = self._tasks[key] = asyncio.create_task(self._run(key, ask))
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def _run(self, key: Key, ask: Callable[[], Awaitable[Value]]) -> Value | None:
        began = self._clock()
        try:
            async with asyncio.timeout(self.budget.lost_s):
                found = await ask()
        except Exception as error:  # whatever happens in or on the way to another process: search goes on without
            self.breaker.failed()
            log.warning(self._failed, error=type(error).__name__, said=str(error)[:200])
            return None
        seconds = self._clock() - began
        self._observe(seconds)
        if seconds <= self.budget.budget_s:
            self.breaker.succeeded()
        else:
            self.breaker.came_late()
        self._cache[key] = found
        self._cache.move_to_end(key)
        if len(self._cache) > self.budget.kept:
            self._cache.popitem(last=False)
        return found
