"""What every ranker must keep. A new ranker is added to `RANKERS` and inherits the suite."""

import numpy as np
import pytest
import torch

from services.features.transforms import FEATURES
from services.networks.numpy_ranker import NumpyRanker
from services.networks.ranker_config import RankerConfig
from services.networks.ranker_network import RankerNetwork
from services.recommend.learned import LearnedRanker
from services.recommend.linear import BlendWeights, LinearBlend
from services.recommend.ranker import Ranker


def learned() -> LearnedRanker:
    """A ranker with random weights: what every contract asks holds whatever was learned."""
    torch.manual_seed(2)
    config = RankerConfig(features=FEATURES, hidden=(16, 8))
    network = RankerNetwork(config)
    torch.nn.init.normal_(network.out.weight)
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    return LearnedRanker(NumpyRanker(config, weights, np.tile(np.float32([1.0, -2.0]), (3, 1))), "1")


RANKERS = [LinearBlend(), LinearBlend(BlendWeights(popularity=2.0, long_term_cosine=-1.0), version="2"), learned()]


@pytest.fixture(params=RANKERS, ids=lambda ranker: f"{ranker.name}@{ranker.version}")
def ranker(request: pytest.FixtureRequest) -> Ranker:
    return request.param


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(3).random((50, len(FEATURES))).astype(np.float32)


def test_one_finite_float32_score_an_item(ranker: Ranker, features: np.ndarray):
    scores = ranker.score(features)
    assert scores.shape == (50,) and scores.dtype == np.float32 and np.isfinite(scores).all()


def test_an_items_score_does_not_depend_on_its_neighbours(ranker: Ranker, features: np.ndarray):
    alone = np.concatenate([ranker.score(features[i : i + 1]) for i in range(50)])
    assert np.allclose(alone, ranker.score(features), atol=1e-5)


def test_column_major_features_score_the_same(ranker: Ranker, features: np.ndarray):
    assert np.allclose(ranker.score(np.asfortranarray(features)), ranker.score(features), atol=1e-6)


def test_contributions_explain_the_score(ranker: Ranker, features: np.ndarray):
    contributions = ranker.contributions(features)
    assert contributions.shape == features.shape and contributions.dtype == np.float32
    offset = ranker.score(features) - contributions.sum(axis=1)
    assert np.allclose(offset, offset[0], atol=1e-4)  # up to a constant


def test_no_items_is_no_error(ranker: Ranker):
    empty = np.zeros((0, len(FEATURES)), np.float32)
    assert ranker.score(empty).shape == (0,)
    assert ranker.contributions(empty).shape == (0, len(FEATURES))


def test_a_ranker_is_named(ranker: Ranker):
    assert ranker.name and ranker.version
