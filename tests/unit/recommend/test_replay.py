"""A list that is made again equals the one that was served, and whatever differs is named."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from recommend_shop import SECONDS, portrait

from services.core.types import EventType
from services.features.portrait import pack
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.replay import LoggedList, replay
from services.recommend.request import RecentEvent, RecommendationRequest

REQUEST = RecommendationRequest(
    "ada", count=4, context={"item_id": "cup"}, recent_events=(RecentEvent("easel", EventType.CLICK, SECONDS - 5),)
)


@pytest.fixture
def pipeline(shop: ItemSnapshot) -> RecommendationPipeline:
    return RecommendationPipeline(shop, config=PipelineConfig(exploration=0.5))


@pytest.fixture
def served(pipeline: RecommendationPipeline) -> LoggedList:
    found = pipeline.recommend(portrait(), REQUEST, SECONDS, seed="request-1")
    return LoggedList(
        request_id="request-1",
        user_id="ada",
        now=SECONDS,
        request=msgspec.json.encode(REQUEST),
        packed=pack(portrait()),
        item_ids=tuple(found.item_ids),
        features=found.features,
        scores=np.float32(found.scores),
        propensities=np.float32(found.propensities),
    )


def test_the_same_inputs_give_the_same_list(pipeline: RecommendationPipeline, served: LoggedList) -> None:
    assert len(served.item_ids) == 4 and served.features.any()
    assert replay(pipeline, served) == []


def test_one_value_that_differs_is_named(pipeline: RecommendationPipeline, served: LoggedList) -> None:
    wrong = served.features.copy()
    wrong[1, 0] += 1e-4
    (said,) = replay(pipeline, replace(served, features=wrong))
    assert said.startswith(f"long_term_cosine of {served.item_ids[1]} was")


def test_another_portrait_time_or_exploration_does_not_pass(
    pipeline: RecommendationPipeline, served: LoggedList
) -> None:
    other = pack(portrait(long_term=None))
    assert replay(pipeline, replace(served, packed=other))
    assert replay(pipeline, replace(served, packed=None))
    assert any("recency" in said for said in replay(pipeline, replace(served, now=SECONDS + 3_600)))
    assert any("propensity" in said for said in replay(pipeline, replace(served, propensities=served.propensities / 2)))
    assert any("score" in said for said in replay(pipeline, replace(served, scores=served.scores + 0.1)))
