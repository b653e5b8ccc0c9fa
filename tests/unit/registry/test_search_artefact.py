"""A trained search ranker in its registry: published, verified, promoted against the untrained one, and taken back."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from services.core.errors import Conflict, CorruptArtefact
from services.core.paths import HomePaths
from services.networks.numpy_search_ranker import BY_HAND, NumpySearchRanker
from services.registry.manifest import SEARCH_RANKER, DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import UNTRAINED, ModelRegistry, Needs
from services.registry.search_artefact import RANKER, load_search_ranker, write_search_ranker
from services.registry.storage import StoredRegistry, open_search_registry

NAMES = ("words", "cosine")
NEEDS = Needs(NAMES, "space")


def network(names: tuple[str, ...] = NAMES, by_hand: float = 0.0) -> NumpySearchRanker:
    f = len(names)
    shapes = {"wide": (1, f), "first": (1, f, 2), "first_bias": (1, 2), "second": (1, 2, 2), "second_bias": (1, 2)}
    weights = {name: np.ones(shape, np.float32) for name, shape in (shapes | {"out": (1, 2)}).items()}
    weights |= {"mean": np.zeros(f, np.float32), "scale": np.ones(f, np.float32)}
    return NumpySearchRanker(names, weights | ({BY_HAND: np.full(f, by_hand, np.float32)} if by_hand else {}))


def publish(registry: ModelRegistry, made: Path, version: str, gain: tuple = (1.1, 1.0, 1.2), **changes) -> str:
    write_search_ranker(made / version, network())
    figures = {"ndcg@10": Measured(0.5, 0.4, 0.6)}
    manifest = ModelManifest(
        version=version,
        created=1.0,
        kind=SEARCH_RANKER,
        config="default",
        seed=0,
        space="space",
        features=NAMES,
        feature_service="",
        feature_hash=feature_hash(NAMES),
        snapshot="s",
        data=DataRange(1, 1, 1, "a", "b", "click", version),
        metrics=figures,
        baseline=figures,
        gain=Measured(*gain),
        epochs=1,
        seconds=1.0,
    )
    return registry.publish(made / version, msgspec.structs.replace(manifest, **changes))


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return open_search_registry(HomePaths(tmp_path), None)


def test_a_ranker_is_promoted_and_taken_back_as_models_are(registry: ModelRegistry, tmp_path: Path) -> None:
    assert registry.rollout().champion == UNTRAINED
    publish(registry, tmp_path / "made", "one")
    publish(registry, tmp_path / "made", "worse", gain=(0.8, 0.7, 0.9))
    verdict = registry.promote("one", needs=NEEDS)
    assert verdict.passes and "times that of the untrained ranker" in verdict.reason
    with pytest.raises(Conflict, match="over that of the untrained ranker"):
        registry.promote("worse", needs=NEEDS)
    assert [manifest.kind for manifest in registry.versions()] == [SEARCH_RANKER] * 2
    assert registry.rollback() == UNTRAINED and registry.rollout().champion == UNTRAINED


def test_what_is_loaded_is_what_was_published(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path / "made", "one")
    loaded = load_search_ranker(registry, "one", NEEDS)
    x = np.array([[0.5, 0.2], [0.1, 0.9]], np.float32)
    assert np.array_equal(loaded.network.score(x), network().score(x))


@pytest.mark.parametrize(
    ("needs", "said"),
    [(Needs(("words",), "space"), "other features"), (Needs(NAMES, "another"), "vectors of space")],
)
def test_a_ranker_made_for_something_else_is_refused(
    registry: ModelRegistry, tmp_path: Path, needs: Needs, said: str
) -> None:
    publish(registry, tmp_path / "made", "one")
    with pytest.raises(CorruptArtefact, match=said):
        load_search_ranker(registry, "one", needs)
    with pytest.raises(CorruptArtefact, match=said):
        registry.promote("one", needs=needs)


def test_a_damaged_ranker_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path / "made", "one")
    file = registry.folder / "one" / RANKER
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CorruptArtefact, match="missing or damaged"):
        load_search_ranker(registry, "one", NEEDS)


def test_weights_by_hand_are_added_and_explained() -> None:
    x = np.array([[0.5, 0.2], [0.1, 0.9]], np.float32)
    plain, weighed = network(), network(by_hand=2.0)
    assert weighed.score(x) - plain.score(x) == pytest.approx(x.sum(axis=1) * 2)
    assert weighed.contributions(x) - plain.contributions(x) == pytest.approx(x * 2)


def test_rankers_go_through_the_storage_beside_the_models(tmp_path: Path) -> None:
    storage = (tmp_path / "bucket").as_uri()
    trainer = open_search_registry(HomePaths(tmp_path / "a"), storage)
    gateway = open_search_registry(HomePaths(tmp_path / "b"), storage)
    publish(trainer, tmp_path / "made", "one")
    trainer.promote("one")
    assert isinstance(gateway, StoredRegistry)
    gateway.pull()
    assert load_search_ranker(gateway, "one", NEEDS).manifest.version == "one"
    assert (tmp_path / "bucket" / "search-rankers" / "one").is_dir() and not (tmp_path / "bucket" / "models").exists()
