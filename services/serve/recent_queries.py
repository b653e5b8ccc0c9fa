"""What users asked last, for suggestions: kept in the process, read from PostgreSQL when a user comes first.

Who refused personalisation is suggested nothing of it: PostgreSQL is asked before the first time, and once a minute.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from services.core.errors import PortraitError

KEPT_USERS = 20_000
KEPT_QUERIES = 10
FRESH_S = 60.0
"""How long what was read counts: searches that other processes answered, `search` events, and consent given or refused
elsewhere, are known by then."""
WAIT_S = 0.004
"""How long one suggestion waits for PostgreSQL; what comes later is there for the next letter."""


@dataclass(frozen=True)
class _Kept:
    """`read_at`: when PostgreSQL was asked last. `refused`: personalisation; None before the first answer."""

    read_at: float = -math.inf
    queries: list[str] = field(default_factory=list)
    refused: bool | None = None

    @property
    def shown(self) -> list[str]:
        return self.queries if self.refused is False else []


class RecentQueries:
    """Used on the event loop's thread alone."""

    def __init__(
        self, read: Callable[[str], Awaitable[list[str] | None]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` answers None for who refused personalisation."""
        self._read, self._clock = read, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading: dict[str, asyncio.Task[list[str]]] = {}

    def asked(self, user_id: str, query: str) -> None:
        """The user has just asked this; PostgreSQL is told a moment later."""
        known = self._kept.get(user_id, _Kept())
        if not known.refused:
            queries = [query, *(text for text in known.queries if text != query)][:KEPT_QUERIES]
            self._keep(user_id, replace(known, queries=queries))

    async def of(self, user_id: str) -> list[str]:
        """Newest first; nothing where PostgreSQL takes longer than a moment, or the user refused personalisation."""
        known = self._kept.get(user_id)
        if known is not None and self._clock() < known.read_at + FRESH_S:
            self._kept.move_to_end(user_id)
            return known.shown
        task = self._reading.get(user_id)
        if task is None:
            task = self._reading[user_id] = asyncio.create_task(self._refresh(user_id))
            task.add_done_callback(lambda _: self._reading.pop(user_id, None))
        done, _ = await asyncio.wait({task}, timeout=WAIT_S)
        return task.result() if done and not task.cancelled() else []

    def forget(self, user_id: str) -> None:
        """What is known of the user may be so no longer: consent was given or refused, or everything was erased."""
        self._kept.pop(user_id, None)
        under_way = self._reading.pop(user_id, None)
        if under_way is not None:
            under_way.cancel()

    async def _refresh(self, user_id: str) -> list[str]:
        try:
            stored = await self._read(user_id)
        except PortraitError:  # without PostgreSQL nobody can have refused since: what was known stays
            found = replace(self._kept.get(user_id, _Kept()), read_at=self._clock())
        else:
            known = self._kept.get(user_id, _Kept()).queries
            queries = [] if stored is None else list(dict.fromkeys([*known, *stored]))[:KEPT_QUERIES]
            found = _Kept(self._clock(), queries, refused=stored is None)
        self._keep(user_id, found)
        return found.shown

    def _keep(self, user_id: str, kept: _Kept) -> None:
        self._kept[user_id] = kept
        self._kept.move_to_end(user_id)
        if len(self._kept) > KEPT_USERS:
            self._kept.popitem(last=False)
