"""Scores of a cross-encoder: asked once, within a budget, and nothing where they do not come."""

import asyncio

import numpy as np
import pytest

from services.core.metrics import ServingMetrics
from services.serve.breaker import Breaker, BreakerConfig
from services.serve.cross_scores import CrossScores

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Encoder:
    """Scores a title by its length, when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[str]]] = []
        self.missing = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def __call__(self, version: str, query: str, titles: list[str]) -> bytes:
        self.asked.append((version, query, titles))
        await self.answering.wait()
        return np.array([len(title) for title in titles[self.missing :]], np.float32).tobytes()


def outcomes(metrics: ServingMetrics) -> dict[str, float]:
    samples = next(iter(metrics.cross_scores.collect())).samples
    return {one.labels["outcome"]: one.value for one in samples if one.name.endswith("_total")}


async def test_a_list_is_scored_once_by_version_query_and_titles():
    encoder, metrics = Encoder(), ServingMetrics()
    scores = CrossScores(encoder, metrics, 1.0)
    for query in ("Oak  table", "oak table"):
        found = await scores.scores("v1", query, ["a", "bcd"])
        assert found is not None and found.tolist() == [1.0, 3.0]
    await scores.scores("v2", "oak table", ["a", "bcd"])
    await scores.scores("v1", "oak table", ["a"])
    assert encoder.asked == [
        ("v1", "oak table", ["a", "bcd"]),
        ("v2", "oak table", ["a", "bcd"]),
        ("v1", "oak table", ["a"]),
    ]
    assert outcomes(metrics) == {"encoded": 3, "cached": 1}


async def test_a_list_that_comes_late_is_there_for_the_next_request():
    encoder, metrics = Encoder(), ServingMetrics()
    encoder.answering.clear()
    scores = CrossScores(encoder, metrics, 0.02, Breaker(BreakerConfig(tolerated=3)))
    assert await scores.scores("v1", "oak", ["a"]) is None
    encoder.answering.set()
    await asyncio.sleep(0.01)
    assert await scores.scores("v1", "oak", ["a"]) is not None
    assert outcomes(metrics) == {"late": 1, "cached": 1}


async def test_scores_of_another_number_of_titles_are_no_answer():
    encoder, metrics = Encoder(), ServingMetrics()
    encoder.missing = 1
    assert await CrossScores(encoder, metrics, 1.0).scores("v1", "oak", ["a", "b"]) is None
    assert outcomes(metrics) == {"failed": 1}
