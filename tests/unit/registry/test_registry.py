"""The registry: models are published whole, promoted through a gate, rolled back, and refused when damaged."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from services.core.errors import Conflict, CorruptArtefact, InvalidInput, NotFound
from services.features.transforms import FEATURES
from services.networks.item_inputs import Vocabulary
from services.networks.numpy_ranker import NumpyRanker
from services.networks.numpy_user_model import NumpyUserModel
from services.networks.ranker_config import RankerConfig
from services.networks.ranker_network import RankerNetwork
from services.networks.user_config import UserModelConfig
from services.networks.user_model import UserModel
from services.registry.artefact import RANKER, USER_MODEL, write_artefact
from services.registry.gate import judge
from services.registry.manifest import DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import BLEND, ModelRegistry, Needs, Rollout

WORDS = Vocabulary(("a", "b", "ü"), ("x",), ("acme",), (1.5, 2.25), np.float32([3, 0, 2]))


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def user_model() -> NumpyUserModel:
    torch.manual_seed(0)
    config = UserModelConfig(4, len(WORDS.items), 1, 1, width=8)
    return NumpyUserModel(config, arrays(UserModel(config)))


def ranker() -> NumpyRanker:
    torch.manual_seed(1)
    config = RankerConfig(FEATURES, hidden=(4, 4))
    return NumpyRanker(config, arrays(RankerNetwork(config)), np.tile(np.float32([1, 0]), (3, 1)))


def manifest(version: str, *, ndcg: float = 0.05, gain: float = 1.1, digest: str = "d1", created: float = 1.0):
    metric = Measured(ndcg, ndcg - 0.005, ndcg + 0.005)
    return ModelManifest(
        version=version,
        created=created,
        config="default",
        seed=0,
        space="hand",
        features=FEATURES,
        feature_service="ranking",
        feature_hash=feature_hash(FEATURES),
        snapshot="s",
        data=DataRange(10, 2, 3, "2026-01-01", "2026-02-01", "purchase", digest),
        metrics={"recall@10": metric, "ndcg@10": metric},
        baseline={"recall@10": metric, "ndcg@10": metric},
        gain=Measured(gain, gain - 0.05, gain + 0.05),
        epochs=3,
        seconds=1.0,
    )


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "models")


def publish(registry: ModelRegistry, tmp_path: Path, version: str, **changes: object) -> str:
    write_artefact(tmp_path / "made", user_model(), WORDS, ranker())
    return registry.publish(tmp_path / "made", manifest(version, **changes))


def test_what_is_loaded_is_what_was_published(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "one")
    loaded = registry.load("one")
    assert set(loaded.manifest.files) == {USER_MODEL, RANKER, "words.arrow"}
    assert (loaded.words.items, loaded.words.categories, loaded.words.brands) == (("a", "b", "ü"), ("x",), ("acme",))
    assert loaded.words.price_edges == (1.5, 2.25)
    assert loaded.words.counts.tolist() == [3.0, 0.0, 2.0]
    x = np.random.default_rng(0).random((5, len(FEATURES))).astype(np.float32)
    assert np.array_equal(loaded.ranker.value(x), ranker().value(x))


def test_versions_are_named_once_and_listed_newest_first(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "old", created=1.0)
    publish(registry, tmp_path, "new", created=2.0)
    assert [found.version for found in registry.versions()] == ["new", "old"]
    with pytest.raises(Conflict):
        publish(registry, tmp_path, "old")
    for bad in ("../up", "", ".hidden", "a/b"):
        with pytest.raises(InvalidInput):
            registry.manifest(bad)
    with pytest.raises(NotFound, match="models list"):
        registry.promote("none")


def test_promotion_and_the_way_back(registry: ModelRegistry, tmp_path: Path) -> None:
    assert registry.rollout() == Rollout()
    with pytest.raises(Conflict, match="nothing served before"):
        registry.rollback()
    publish(registry, tmp_path, "one")
    publish(registry, tmp_path, "two", ndcg=0.06)
    registry.promote("one")
    registry.promote("two")
    assert (registry.rollout().champion, registry.rollout().before) == ("two", (BLEND, "one"))
    assert [registry.rollback(), registry.rollback()] == ["one", BLEND]
    assert registry.rollout().before == ()


def test_a_worse_model_is_not_promoted_unless_told(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "good", ndcg=0.06)
    publish(registry, tmp_path, "bad", ndcg=0.05)
    registry.promote("good")
    with pytest.raises(Conflict, match=r"0\.0500 against 0\.0600"):
        registry.promote("bad")
    assert registry.rollout().champion == "good"
    registry.promote("bad", force=True)
    assert registry.rollout().champion == "bad"


@pytest.mark.parametrize(
    ("candidate", "champion", "passes"),
    [
        (manifest("a", gain=0.96), None, True),  # up to 1.01: not worse than the blend beyond doubt
        (manifest("a", gain=0.9), None, False),
        (manifest("a", ndcg=0.046), manifest("b", ndcg=0.05), True),  # within the champion's interval
        (manifest("a", ndcg=0.044), manifest("b", ndcg=0.05), False),
        (manifest("a", ndcg=0.01, gain=1.2, digest="d2"), manifest("b", ndcg=0.05, gain=1.1), True),
        (manifest("a", ndcg=0.09, gain=1.0, digest="d2"), manifest("b", ndcg=0.05, gain=1.1), False),
    ],
)
def test_the_gate(candidate: ModelManifest, champion: ModelManifest | None, passes: bool) -> None:
    assert judge(candidate, champion).passes is passes


def test_a_model_that_reads_something_else_is_not_promoted(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "one")
    fits = registry.manifest("one")
    for needs in (Needs(("other",), fits.space), Needs(fits.features, "another space")):
        with pytest.raises(CorruptArtefact, match="train again"):
            registry.promote("one", force=True, needs=needs)
    assert registry.rollout().champion == BLEND
    registry.promote("one", needs=Needs(fits.features, fits.space))
    assert registry.rollout().champion == "one"


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "manifest"])
def test_a_damaged_model_is_neither_promoted_nor_loaded(registry: ModelRegistry, tmp_path: Path, damage: str) -> None:
    publish(registry, tmp_path, "one")
    path = registry.folder / "one" / ("manifest.json" if damage == "manifest" else USER_MODEL)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"cut": data[:-9], "flipped": data[:-1] + bytes([data[-1] ^ 1]), "manifest": b"{"}[damage])
    for action in (registry.load, registry.promote):
        with pytest.raises(CorruptArtefact):
            action("one")
    assert registry.rollout().champion == BLEND


def test_a_file_that_matches_its_hash_but_is_no_model_is_refused(registry: ModelRegistry, tmp_path: Path) -> None:
    write_artefact(tmp_path / "made", user_model(), WORDS, ranker())
    (tmp_path / "made" / RANKER).write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    registry.publish(tmp_path / "made", manifest("odd"))
    with pytest.raises(CorruptArtefact):
        registry.load("odd")


def test_trials_have_a_share_and_an_end(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "one")
    with pytest.raises(InvalidInput):
        registry.try_out("one", 1.5)
    assert registry.try_out("one", 0.2).canary_share == 0.2
    assert registry.try_out("one", 0.1, shadow=True).canary == "one"
    registry.promote("one")
    assert (registry.rollout().canary, registry.rollout().shadow) == (None, "one")
    assert registry.try_out(None, 0.5, shadow=True).shadow_share == 0.0


def test_readers_never_see_half_a_rollout(registry: ModelRegistry, tmp_path: Path) -> None:
    for version in ("one", "two"):
        publish(registry, tmp_path, version)
    registry.promote("one")
    ended, seen = threading.Event(), set()

    def read() -> None:
        while not ended.is_set():
            seen.add(registry.rollout().champion)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        registry.promote("two", force=True)
        registry.promote("one", force=True)
    ended.set()
    reader.join()
    assert seen <= {"one", "two"}


def test_a_rollout_that_cannot_be_read_says_so(registry: ModelRegistry, tmp_path: Path) -> None:
    publish(registry, tmp_path, "one")
    (registry.folder / "rollout.json").write_text("{")
    with pytest.raises(CorruptArtefact, match="promote"):
        registry.rollout()
    registry.promote("one")
    assert msgspec.json.decode((registry.folder / "rollout.json").read_bytes())["champion"] == "one"
