"""Query vectors for requests: cached, else from the encoder within a time budget, else none."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.metrics import ServingMetrics
from services.serve.breaker import Breaker, Circuit
from services.serve.within_budget import Budget, Outcome, WithinBudget

FloatArray = NDArray[np.float32]
MAX_ENCODED = 512
"""Characters of a query that are encoded; more than any encoder reads."""
BUDGET = Budget(budget_s=0.25, kept=20_000)
"""1.6 KB a vector."""


@dataclass(frozen=True)
class Encoded:
    """A vector in the items' space, as the encoder sends it: float32 bytes, L2-normalised."""

    space: str
    vector: bytes


@dataclass(frozen=True)
class QueryVector:
    """`vector` float32 (D,), None where there is none."""

    vector: FloatArray | None
    outcome: Outcome


class QueryVectors:
    """Used on the event loop's thread alone."""

    def __init__(
        self,
        encode: Callable[[str], Awaitable[Encoded]],
        metrics: ServingMetrics,
        budget: Budget = BUDGET,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._encode, self._metrics = encode, metrics
        answers: WithinBudget[str, tuple[str, FloatArray]] = WithinBudget(
            budget, "query-not-encoded", metrics.encoding.observe, breaker, clock
        )
        self._answers = answers
        metrics.query_cache_size.set_function(lambda: len(answers))
        metrics.encoder_circuit.set_function(lambda: float(answers.breaker.state is not Circuit.CLOSED))

    async def vector(self, query: str, space: str) -> QueryVector:
        """The vector of what was typed, in the items' space."""
        key = cache_key(query)
        found, outcome = await self._answers.get(key, lambda: self._ask(key), lambda known: known[0] == space)
        if found is not None and found[0] != space:
            found, outcome = None, Outcome.OTHER_SPACE
        self._metrics.query_vectors.labels(outcome.value).inc()
        return QueryVector(None if found is None else found[1], outcome)

    async def _ask(self, query: str) -> tuple[str, FloatArray]:
        encoded = await self._encode(query)
        return encoded.space, np.frombuffer(encoded.vector, np.float32)


def cache_key(query: str) -> str:
    """What is encoded for a query: in lower case and without extra spaces, so that equal questions are asked once."""
    return " ".join(query.casefold().split())[:MAX_ENCODED]
