"""A trained version is published with what it is worth, and serves what evaluation measured."""

from pathlib import Path

import numpy as np
from test_learned import USERS, data  # noqa: F401 - a fixture

from services.features.transforms import FEATURES
from services.recommend.learned import LearnedRanker
from services.registry.registry import ModelRegistry
from training.compare import Builders, ShopData
from training.publish import train_and_publish


def test_training_publishes_a_version_that_beats_the_blend(data: ShopData, tmp_path: Path) -> None:  # noqa: F811
    registry = ModelRegistry(tmp_path / "models")
    from services.profiles.offline import offline_serving
    from services.profiles.shop_data import EvaluationData

    table = EvaluationData("shop", data.events, data.items, data.vectors, "by-hand").vector_table()
    builders = Builders(
        pairs=lambda *_: None,
        serving=lambda known, history: offline_serving(known, history, data.items, table),
    )
    manifest = train_and_publish(data, builders, registry, config="small", space="by-hand", snapshot="s1")
    assert registry.versions() == [manifest]
    assert (manifest.space, manifest.snapshot, manifest.data.users) == ("by-hand", "s1", USERS)
    assert manifest.metrics["recall@10"].mean > 0.5
    assert manifest.gain.low <= manifest.gain.mean <= manifest.gain.high
    loaded = registry.load(manifest.version)
    scores = LearnedRanker(loaded.ranker, manifest.version).score(np.zeros((3, len(FEATURES)), np.float32))
    assert np.isfinite(scores).all()
    assert (
        manifest.data.digest
        == train_and_publish(data, builders, ModelRegistry(tmp_path / "again"), config="small").data.digest
    )
