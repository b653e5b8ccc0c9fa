"""What users asked last, for suggestions: kept in the process, read from PostgreSQL when a user comes first."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from services.core.errors import PortraitError

KEPT_USERS = 20_000
KEPT_QUERIES = 10
FRESH_S = 60.0
"""How long what was read counts: searches that other processes answered, and `search` events, appear by then."""
WAIT_S = 0.004
"""How long one suggestion waits for PostgreSQL; what comes later is there for the next letter."""


class RecentQueries:
    """Used on the event loop's thread alone."""

    def __init__(
        self, read: Callable[[str], Awaitable[list[str]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._kept: OrderedDict[str, tuple[float, list[str]]] = OrderedDict()
        self._reading: dict[str, asyncio.Task[list[str]]] = {}

    def asked(self, user_id: str, query: str) -> None:
        """The user has just asked this; PostgreSQL is told a moment later."""
        at, known = self._kept.get(user_id, (-math.inf, []))
        self._keep(user_id, at, [query, *(text for text in known if text != query)][:KEPT_QUERIES])

    async def of(self, user_id: str) -> list[str]:
        """Newest first; what was known before, or nothing, where PostgreSQL takes longer than a moment."""
        known = self._kept.get(user_id)
        if known is not None and self._clock() < known[0] + FRESH_S:
            self._kept.move_to_end(user_id)
            return known[1]
        task = self._reading.get(user_id)
        if task is None:
            task = self._reading[user_id] = asyncio.create_task(self._refresh(user_id))
            task.add_done_callback(lambda _: self._reading.pop(user_id, None))
        done, _ = await asyncio.wait({task}, timeout=WAIT_S)
        return task.result() if done else ([] if known is None else known[1])

    async def _refresh(self, user_id: str) -> list[str]:
        try:
            stored = await self._read(user_id)
        except PortraitError:  # without PostgreSQL there are suggestions all the same
            stored = []
        _, known = self._kept.get(user_id, (-math.inf, []))
        merged = list(dict.fromkeys([*known, *stored]))[:KEPT_QUERIES]
        self._keep(user_id, self._clock(), merged)
        return merged

    def _keep(self, user_id: str, at: float, queries: list[str]) -> None:
        self._kept[user_id] = at, queries
        self._kept.move_to_end(user_id)
        if len(self._kept) > KEPT_USERS:
            self._kept.popitem(last=False)
