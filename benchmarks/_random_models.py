"""Models of the default shapes with random weights: what they cost in a request does not depend on what was learned."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from services.features.snapshot import ItemSnapshot
from services.features.transforms import FEATURES
from services.networks.item_inputs import Vocabulary
from services.networks.numpy_ranker import NumpyRanker
from services.networks.numpy_user_model import NumpyUserModel
from services.networks.ranker_config import RankerConfig
from services.networks.ranker_network import RankerNetwork
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel
from services.registry.artefact import write_artefact
from services.registry.manifest import DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import ModelRegistry
from training.configs import run_config


def random_user_model(content: int, items: int, categories: int = 1, brands: int = 1) -> NumpyUserModel:
    """Of the default configuration's shape."""
    shape = run_config("default").user_model
    config = UserModelConfig(
        content, items, categories, brands, shape.width, shape.blocks, shape.heads, length=shape.length
    )
    torch.manual_seed(0)
    return NumpyUserModel(config, _weights(UserModel(config)))


def random_ranker() -> NumpyRanker:
    """Of the default configuration's shape."""
    config = RankerConfig(FEATURES, run_config("default").ranker.hidden)
    torch.manual_seed(0)
    return NumpyRanker(config, _weights(RankerNetwork(config)), np.tile(np.float32([1, 0]), (3, 1)))


def publish_random(registry: ModelRegistry, snapshot: ItemSnapshot, version: str) -> None:
    """A version over a snapshot's items."""
    words = Vocabulary(
        tuple(snapshot.item_ids),
        tuple(snapshot.category_names),
        tuple(snapshot.brand_names),
        (),
        np.ones(snapshot.count, np.float32),
    )
    model = random_user_model(snapshot.dimension, snapshot.count, len(words.categories), len(words.brands))
    one = Measured(1.0, 1.0, 1.0)
    manifest = ModelManifest(
        version=version,
        created=time.time(),
        config="default",
        seed=0,
        space=snapshot.space,
        features=FEATURES,
        feature_service="ranking",
        feature_hash=feature_hash(FEATURES),
        snapshot=snapshot.version,
        data=DataRange(0, 0, snapshot.count, "", "", "", "random"),
        metrics={"recall@10": one, "ndcg@10": one},
        baseline={"recall@10": one, "ndcg@10": one},
        gain=one,
        epochs=0,
        seconds=0.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        write_artefact(Path(folder), model, words, random_ranker())
        registry.publish(Path(folder), manifest)


def _weights(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}
