"""What reading the leading results together with the query adds to their scores, within a time budget."""

import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.core.metrics import ServingMetrics
from services.serve.breaker import Breaker
from services.serve.query_vectors import cache_key
from services.serve.within_budget import Budget, Outcome, WithinBudget

FloatArray = NDArray[np.float32]
KEPT = 20_000
"""Lists of at most 20 scores."""
UNDER_WAY = 2
"""A list costs the encoder a tenth of a second and more: what waits for others would come late."""


class CrossScores:
    """Used on the event loop's thread alone."""

    def __init__(
        self,
        score: Callable[[str, str, list[str]], Awaitable[bytes]],
        metrics: ServingMetrics,
        budget_s: float,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`score(version, query, titles)` gives float32 bytes."""
        self._score, self._metrics = score, metrics
        self._answers: WithinBudget[tuple[str, ...], FloatArray] = WithinBudget(
            Budget(budget_s, KEPT, UNDER_WAY), "titles-not-scored", metrics.cross_scoring.observe, breaker, clock
        )

    async def scores(self, version: str, query: str, titles: Sequence[str]) -> FloatArray | None:
        """float32 (n,) of the cross-encoder of a search ranker's version; None where it does not answer in time."""
        asked, named = cache_key(query), list(titles)
        found, outcome = await self._answers.get(
            (version, asked, *named), lambda: self._ask(version, asked, named), lambda known: len(known) == len(named)
        )
        if found is not None and len(found) != len(named):
            found, outcome = None, Outcome.FAILED
        self._metrics.cross_scores.labels(outcome.value).inc()
        return found

    async def _ask(self, version: str, query: str, titles: list[str]) -> FloatArray:
        return np.frombuffer(await self._score(version, query, titles), np.float32)
