"""The gateway takes up models with the snapshot, and keeps what serves when one cannot."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from benchmarks._synthetic_shop import NOW, synthetic_tables
from services.core.metrics import ServingMetrics
from services.features.portrait import Portrait, RecentItem, cold_portrait
from services.features.snapshot_build import build_snapshot, publish
from services.features.transforms import FEATURES
from services.networks.item_inputs import Vocabulary
from services.networks.numpy_ranker import NumpyRanker
from services.networks.numpy_user_model import NumpyUserModel
from services.networks.ranker_config import RankerConfig
from services.networks.ranker_network import RankerNetwork
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel
from services.recommend.request import RecommendationRequest
from services.registry.artefact import USER_MODEL, write_artefact
from services.registry.manifest import DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import ModelRegistry
from services.serve import serving
from services.serve.buckets import bucket
from services.serve.serving import SnapshotWatcher
from services.serve.shadow import ShadowScorer


@pytest.fixture
def watcher(tmp_path: Path) -> SnapshotWatcher:
    shop(tmp_path, 60)
    made = SnapshotWatcher(tmp_path / "snapshots", ServingMetrics(), tmp_path / "models")
    made.refresh()
    return made


def shop(folder: Path, items: int) -> None:
    snapshots = folder / "snapshots"
    snapshots.mkdir(exist_ok=True)
    publish(snapshots, build_snapshot(synthetic_tables(items), snapshots, now=NOW))


def add_model(
    watcher: SnapshotWatcher,
    folder: Path,
    version: str,
    space: str | None = None,
    features: tuple[str, ...] = FEATURES,
) -> ModelRegistry:
    torch.manual_seed(len(version))
    snapshot = watcher.serving.snapshot
    config = UserModelConfig(snapshot.dimension, 10, 0, 0, width=8)
    ranking = RankerConfig(features, hidden=(4, 4))
    user, rank = UserModel(config), RankerNetwork(ranking)
    words = Vocabulary(tuple(snapshot.item_ids[:10]), (), (), (), np.ones(10, np.float32))
    plain = ({name: value.numpy() for name, value in module.state_dict().items()} for module in (user, rank))
    write_artefact(
        folder / version,
        NumpyUserModel(config, next(plain)),
        words,
        NumpyRanker(ranking, next(plain), np.tile(np.float32([1, 0]), (3, 1))),
    )
    one = Measured(1.0, 1.0, 1.0)
    manifest = ModelManifest(
        version=version, created=1.0, config="small", seed=0, space=snapshot.space if space is None else space,
        features=features, feature_service="ranking", feature_hash=feature_hash(features), snapshot="",
        data=DataRange(1, 1, 1, "", "", "click", "d"), metrics={"ndcg@10": one, "recall@10": one},
        baseline={"ndcg@10": one, "recall@10": one}, gain=one, epochs=1, seconds=1.0,
    )  # fmt: skip
    registry = ModelRegistry(folder / "models")
    registry.publish(folder / version, manifest)
    return registry


def serves(watcher: SnapshotWatcher) -> tuple[str, str]:
    watcher.refresh()
    ranker = watcher.serving.pipeline.ranker
    return ranker.name, ranker.version


def test_a_promoted_model_serves_and_the_one_before_after_a_rollback(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    assert serves(watcher)[0] == "linear-blend"
    registry = add_model(watcher, tmp_path, "one")
    assert serves(watcher)[0] == "linear-blend"  # published is not promoted
    registry.promote("one")
    held = watcher.serving
    assert serves(watcher) == ("learned", "one")
    assert held.pipeline.ranker.name == "linear-blend"  # a request keeps what it began with
    registry.rollback()
    assert serves(watcher)[0] == "linear-blend"


def test_the_learned_pipeline_answers_known_and_unknown_users(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    add_model(watcher, tmp_path, "one").promote("one")
    watcher.refresh()
    items = list(watcher.serving.snapshot.item_ids)
    recent = tuple(RecentItem(item, "purchase", NOW.timestamp(), 1.0) for item in items[:5])
    known = Portrait("ada", NOW.timestamp(), NOW.timestamp(), 5, 0.5, "active", recent_items=recent)
    request = RecommendationRequest("ada", explain=True)
    for portrait in (known, cold_portrait("eve", NOW.timestamp())):
        found = watcher.serving.pipeline.recommend(portrait, request, NOW.timestamp())
        assert len(found.item_ids) == 20 and all(found.reasons)
    assert any(
        "query" in sources for sources in watcher.serving.pipeline.recommend(known, request, NOW.timestamp()).sources
    )


def test_model_and_snapshot_change_together(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    add_model(watcher, tmp_path, "one").promote("one")
    watcher.refresh()
    shop(tmp_path, 80)
    watcher.refresh()
    assert (watcher.serving.snapshot.count, serves(watcher)) == (80, ("learned", "one"))
    assert len(watcher.serving.pipeline._queries.vectors) == 80


@pytest.mark.parametrize("fault", ["damaged", "of another space", "of other features", "gone"])
def test_a_model_that_cannot_serve_leaves_the_old_one_in_place(
    watcher: SnapshotWatcher, tmp_path: Path, fault: str
) -> None:
    add_model(watcher, tmp_path, "one").promote("one")
    watcher.refresh()
    space = "another" if fault == "of another space" else None
    features = FEATURES[1:] if fault == "of other features" else FEATURES
    registry = add_model(watcher, tmp_path, "two", space, features)
    registry.promote("two", force=True)
    if fault == "damaged":
        (tmp_path / "models" / "two" / USER_MODEL).write_bytes(b"cut short")
    if fault == "gone":
        (tmp_path / "models" / "two" / "manifest.json").unlink()
    assert serves(watcher) == ("learned", "one")
    assert watcher.usable and watcher.model_failure
    shop(tmp_path, 70)  # the next snapshot comes with the model that serves
    assert serves(watcher) == ("learned", "one") and watcher.serving.snapshot.count == 70
    assert "portrait_model_failures_total 1.0" in watcher._metrics.text().decode()
    registry.promote("one", force=True)
    assert serves(watcher) == ("learned", "one") and watcher.model_failure is None


def test_a_gateway_that_begins_with_a_damaged_model_serves_the_blend(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    add_model(watcher, tmp_path, "one").promote("one")
    (tmp_path / "models" / "one" / USER_MODEL).unlink()
    fresh = SnapshotWatcher(tmp_path / "snapshots", ServingMetrics(), tmp_path / "models")
    assert serves(fresh)[0] == "linear-blend" and fresh.usable


def test_a_canary_answers_its_share_of_users_and_always_the_same(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    registry = add_model(watcher, tmp_path, "one")
    registry.try_out("one", 0.3)
    watcher.refresh()
    users = [f"user-{n}" for n in range(2_000)]
    names = [watcher.serving.pipeline_of(user).ranker.name for user in users]
    assert names == [watcher.serving.pipeline_of(user).ranker.name for user in users]
    assert 0.25 < names.count("learned") / len(names) < 0.35
    assert {bucket(user) for user in users} <= set(range(10_000))


def test_a_shadow_is_computed_and_counted(watcher: SnapshotWatcher, tmp_path: Path) -> None:
    registry = add_model(watcher, tmp_path, "one")
    registry.try_out("one", 1.0, shadow=True)
    watcher.refresh()
    scorer = ShadowScorer(watcher._metrics)
    portrait, request = cold_portrait("eve", NOW.timestamp()), RecommendationRequest("eve")
    served = watcher.serving.pipeline.recommend(portrait, request, NOW.timestamp()).item_ids
    scorer.offer(watcher.serving, portrait, request, NOW.timestamp(), "request", served)
    scorer.close()
    told = watcher._metrics.text().decode()
    assert 'portrait_shadow_requests_total{outcome="computed"} 1.0' in told
    assert "portrait_shadow_overlap_count 1.0" in told


def test_rollouts_are_values() -> None:
    assert msgspec.structs.replace(ModelRegistry(Path("nowhere")).rollout(), canary="x").champion == "linear-blend"


def test_what_nobody_expected_is_counted_and_the_watcher_goes_on(
    watcher: SnapshotWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, refresh = threading.Semaphore(0), watcher.refresh
    faults = [AttributeError("unforeseen")]

    def at_first_broken() -> None:
        tried.release()
        if faults and threading.current_thread() is not threading.main_thread():
            raise faults.pop()
        refresh()

    monkeypatch.setattr(serving, "POLL_S", 0.001)
    monkeypatch.setattr(watcher, "refresh", at_first_broken)
    watcher.start()
    try:
        assert all(tried.acquire(timeout=10) for _ in range(3)), "at the start, with the fault, after it"
    finally:
        watcher.close()
    assert watcher._metrics.snapshot_failures._value.get() == 1
