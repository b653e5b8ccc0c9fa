"""A question about another server that anybody may ask at any rate, and that is put to it once a second at most."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT_S = 1.0


class SharedProbe(Generic[T]):
    """Whoever asks while the question is under way, or shortly after, is given the same answer. Used on the event
    loop's thread alone."""

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._under_way: asyncio.Task[T] | None = None
        self._known: tuple[T, float] | None = None

    async def get(self) -> T:
        """The answer, at most `KEPT_S` old. Raises what asking raises; that is not kept."""
        if self._known is not None and self._clock() < self._known[1]:
            return self._known[0]
        if self._under_way is None:
            self._under_way = asyncio.create_task(self._asked())
            self._under_way.add_done_callback(self._forget)
        return await asyncio.shield(self._under_way)

    async def _asked(self) -> T:
        answer = await self._ask()
        self._known = answer, self._clock() + KEPT_S
        return answer

    def _forget(self, task: "asyncio.Task[T]") -> None:
        self._under_way = None
