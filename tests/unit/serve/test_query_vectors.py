"""Query vectors: cached, within a budget, and left alone where the encoder fails."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from services.core.metrics import ServingMetrics
from services.serve.breaker import Breaker, BreakerConfig, Circuit
from services.serve.query_vectors import BUDGET, Encoded, QueryVectors
from services.serve.within_budget import Outcome

SPACE = "fused-2"

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Encoder:
    """Answers when told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.space = SPACE

    async def __call__(self, query: str) -> Encoded:
        self.asked.append(query)
        await self.answering.wait()
        if self.failure is not None:
            raise self.failure
        return Encoded(self.space, np.array([len(query), 1], np.float32).tobytes())


def vectors_of(encoder: Encoder, clock: Clock | None = None, **options: float) -> QueryVectors:
    clock = clock or Clock()
    budget = replace(BUDGET, **options)
    return QueryVectors(encoder, ServingMetrics(), budget, Breaker(BreakerConfig(tolerated=2), clock), clock)


async def outcomes(vectors: QueryVectors, *queries: str) -> list[Outcome]:
    return [(await vectors.vector(query, SPACE)).outcome for query in queries]


async def test_equal_questions_are_encoded_once():
    encoder = Encoder()
    vectors = vectors_of(encoder)
    first = await vectors.vector("  Red  LAMP ", SPACE)
    assert first.vector.tolist() == [8.0, 1.0]
    assert await outcomes(vectors, "red lamp") == [Outcome.CACHED]
    assert encoder.asked == ["red lamp"]


async def test_equal_questions_at_the_same_time_share_one_call():
    encoder = Encoder()
    vectors = vectors_of(encoder)
    found = await asyncio.gather(*(vectors.vector("lamp", SPACE) for _ in range(5)))
    assert [one.outcome for one in found] == [Outcome.ENCODED] * 5
    assert encoder.asked == ["lamp"]


async def test_the_least_recently_asked_goes_first():
    vectors = vectors_of(Encoder(), kept=2)
    asked = await outcomes(vectors, "a", "b", "a", "c", "a", "b")
    cached, encoded = Outcome.CACHED, Outcome.ENCODED
    assert asked == [encoded, encoded, cached, encoded, cached, encoded]


async def test_a_late_answer_costs_the_budget_once_and_fills_the_cache():
    encoder = Encoder()
    encoder.answering.clear()
    vectors = vectors_of(encoder, budget_s=0.001)
    assert await outcomes(vectors, "lamp") == [Outcome.LATE]
    encoder.answering.set()
    while (await vectors.vector("lamp", SPACE)).outcome != Outcome.CACHED:
        await asyncio.sleep(0)


async def test_what_fails_is_left_alone_and_tried_again():
    encoder, clock = Encoder(), Clock()
    encoder.failure = ConnectionError("gone")
    vectors = vectors_of(encoder, clock)
    asked = await outcomes(vectors, "a", "b", "c")
    assert asked == [Outcome.FAILED, Outcome.FAILED, Outcome.LEFT_ALONE]
    clock.now = 0.6
    assert await outcomes(vectors, "c", "d") == [Outcome.FAILED, Outcome.LEFT_ALONE]
    clock.now, encoder.failure = 1.7, None
    assert await outcomes(vectors, "c", "d") == [Outcome.ENCODED, Outcome.ENCODED]


async def test_a_cached_vector_is_used_while_the_encoder_is_left_alone():
    encoder = Encoder()
    vectors = vectors_of(encoder)
    await vectors.vector("lamp", SPACE)
    encoder.failure = ConnectionError("gone")
    assert await outcomes(vectors, "a", "b", "c", "lamp") == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.LEFT_ALONE,
        Outcome.CACHED,
    ]


async def test_more_than_the_encoder_may_have_under_way_are_answered_without():
    encoder = Encoder()
    encoder.answering.clear()
    vectors = vectors_of(encoder, under_way=1, budget_s=30)
    waiting = asyncio.create_task(vectors.vector("a", SPACE))
    await asyncio.sleep(0)
    assert await outcomes(vectors, "b") == [Outcome.LEFT_ALONE]
    encoder.answering.set()
    assert (await waiting).outcome is Outcome.ENCODED


async def test_a_vector_of_another_space_is_none_until_the_encoder_has_changed():
    encoder = Encoder()
    encoder.space = "older"
    vectors = vectors_of(encoder)
    found = await vectors.vector("lamp", SPACE)
    assert (found.vector, found.outcome) == (None, Outcome.OTHER_SPACE)
    encoder.space = SPACE
    assert await outcomes(vectors, "lamp", "lamp") == [Outcome.ENCODED, Outcome.CACHED]


@pytest.mark.parametrize("late", [True, False])
def test_a_circuit_opens_tries_again_and_closes(late: bool):
    clock = Clock()
    breaker = Breaker(BreakerConfig(tolerated=2, first_s=1, longest_s=3), clock)
    breaker.failed()
    assert breaker.state is Circuit.CLOSED and breaker.allows()
    breaker.failed()
    assert breaker.state is Circuit.OPEN and not breaker.allows()
    clock.now = 1.0
    assert breaker.state is Circuit.HALF_OPEN
    assert breaker.allows() and not breaker.allows()
    breaker.failed()
    clock.now = 2.5
    assert not breaker.allows()
    if late:
        breaker.came_late()
    clock.now = 2.5 if late else 3.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state is Circuit.CLOSED
