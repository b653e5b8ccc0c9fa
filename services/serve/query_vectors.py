"""Query vectors for requests: from a cache, else from the encoder within a time budget, else none.

The encoder is another process that may be slow, starting or dead. A request waits for it no longer than its budget; an
answer that comes later fills the cache for the next one who asks the same.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.serve.breaker import Breaker, Circuit

FloatArray = NDArray[np.float32]
MAX_ENCODED = 512
"""Characters of a query that are encoded; more than any encoder reads."""

log = get_logger("gateway")


@dataclass(frozen=True)
class Encoded:
    """A vector in the items' space, as the encoder sends it: float32 bytes, L2-normalised."""

    space: str
    vector: bytes


class Outcome(StrEnum):
    """How the vector of one request came, or why it did not."""

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
class QueryVector:
    """`vector` float32 (D,), None where there is none."""

    vector: FloatArray | None
    outcome: Outcome


@dataclass(frozen=True)
class QueryVectorConfig:
    """`budget_s`: how long a request waits; `kept`: vectors in the cache (1.6 KB each); `under_way`: queries that are
    encoded at the same time, more are answered without; `lost_s`: when an answer is no longer expected."""

    budget_s: float = 0.25
    kept: int = 20_000
    under_way: int = 64
    lost_s: float = 60.0


class QueryVectors:
    """Used on the event loop's thread alone."""

    def __init__(
        self,
        encode: Callable[[str], Awaitable[Encoded]],
        metrics: ServingMetrics,
        config: QueryVectorConfig | None = None,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = QueryVectorConfig() if config is None else config
        self._encode, self._metrics, self._clock = encode, metrics, clock
        self._breaker = Breaker() if breaker is None else breaker
        self._cache: OrderedDict[str, tuple[str, FloatArray]] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[tuple[str, FloatArray] | None]] = {}
        metrics.query_cache_size.set_function(lambda: len(self._cache))
        metrics.encoder_circuit.set_function(lambda: float(self._breaker.state is not Circuit.CLOSED))

    async def vector(self, query: str, space: str) -> QueryVector:
        """The vector of what was typed, in the items' space."""
        key = cache_key(query)
        known = self._cache.get(key)
        if known is not None and known[0] == space:
            self._cache.move_to_end(key)
            return self._counted(known, space, Outcome.CACHED)
        task = self._tasks.get(key) or self._start(key)
        if task is None:
            return self._counted(None, space, Outcome.LEFT_ALONE)
        try:
            found = await asyncio.wait_for(asyncio.shield(task), self.config.budget_s)
        except TimeoutError:
            self._breaker.failed()
            return self._counted(None, space, Outcome.LATE)
        return self._counted(found, space, Outcome.ENCODED if found is not None else Outcome.FAILED)

    def _start(self, key: str) -> "asyncio.Task[tuple[str, FloatArray] | None] | None":
        if len(self._tasks) >= self.config.under_way or not self._breaker.allows():
            return None
        task = self._tasks[key] = asyncio.create_task(self._run(key))
        task.add_done_callback(lambda _: self._tasks.pop(key, None))
        return task

    async def _run(self, key: str) -> tuple[str, FloatArray] | None:
        began = self._clock()
        try:
            async with asyncio.timeout(self.config.lost_s):
                encoded = await self._encode(key)
        except Exception as error:  # whatever happens in or on the way to another process: search goes on by words
            self._breaker.failed()
            log.warning("query-not-encoded", error=type(error).__name__, said=str(error)[:200])
            return None
        seconds = self._clock() - began
        self._metrics.encoding.observe(seconds)
        if seconds <= self.config.budget_s:
            self._breaker.succeeded()
        else:
            self._breaker.came_late()
        found = (encoded.space, np.frombuffer(encoded.vector, np.float32))
        self._cache[key] = found
        self._cache.move_to_end(key)
        if len(self._cache) > self.config.kept:
            self._cache.popitem(last=False)
        return found

    def _counted(self, found: tuple[str, FloatArray] | None, space: str, outcome: Outcome) -> QueryVector:
        if found is not None and found[0] != space:
            found, outcome = None, Outcome.OTHER_SPACE
        self._metrics.query_vectors.labels(outcome.value).inc()
        return QueryVector(None if found is None else found[1], outcome)


def cache_key(query: str) -> str:
    """What is encoded for a query: in lower case and without extra spaces, so that equal questions are asked once."""
    return " ".join(query.casefold().split())[:MAX_ENCODED]
