"""One registry on several hosts, through object storage."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.core.errors import CorruptArtefact, NotFound
from services.core.storage import ObjectStorage
from services.registry.manifest import DataRange, Measured, ModelManifest
from services.registry.registry import BLEND, ModelRegistry, Rollout
from services.registry.storage import StoredRegistry, open_registry

ONE = Measured(1.0, 1.0, 1.0)


def manifest(version: str) -> ModelManifest:
    return ModelManifest(
        version=version,
        created=1.0,
        config="default",
        seed=0,
        space="hand",
        features=(),
        feature_service="ranking",
        feature_hash="h",
        snapshot="s",
        data=DataRange(1, 1, 1, "", "", "", "d"),
        metrics={"recall@10": ONE, "ndcg@10": ONE},
        baseline={"recall@10": ONE, "ndcg@10": ONE},
        gain=ONE,
        epochs=1,
        seconds=1.0,
    )


@dataclass(frozen=True)
class Hosts:
    """Two hosts with a folder each, and the storage between them."""

    storage: ObjectStorage
    trainer: StoredRegistry
    gateway: StoredRegistry


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    storage = ObjectStorage(f"memory://{uuid.uuid4().hex}")
    return Hosts(storage, StoredRegistry(tmp_path / "a", storage), StoredRegistry(tmp_path / "b", storage))


def publish(registry: ModelRegistry, tmp_path: Path, version: str) -> None:
    made = tmp_path / f"made-{version}"
    made.mkdir()
    (made / "weights").write_bytes(version.encode())
    registry.publish(made, manifest(version))


def test_a_model_published_on_one_host_is_promoted_on_another(hosts: Hosts, tmp_path: Path) -> None:
    publish(hosts.trainer, tmp_path, "one")
    assert [found.version for found in hosts.gateway.versions()] == ["one"]
    hosts.gateway.promote("one", force=True)
    assert hosts.trainer.rollout().champion == "one"
    assert (hosts.gateway.folder / "one" / "weights").read_bytes() == b"one"


def test_pulling_brings_what_serves_and_nothing_else(hosts: Hosts, tmp_path: Path) -> None:
    hosts.gateway.pull()
    assert ModelRegistry(hosts.gateway.folder).rollout() == Rollout()
    for version in ("one", "two"):
        publish(hosts.trainer, tmp_path, version)
    hosts.trainer.promote("two", force=True)
    hosts.gateway.pull()
    local = ModelRegistry(hosts.gateway.folder)
    assert local.rollout().champion == "two"
    assert [found.version for found in local.versions()] == ["two"]
    assert hosts.gateway.rollback() == BLEND and hosts.trainer.rollout().champion == BLEND


def test_a_rollout_of_a_model_that_is_not_there_changes_nothing(hosts: Hosts, tmp_path: Path) -> None:
    publish(hosts.trainer, tmp_path, "one")
    hosts.trainer.promote("one", force=True)
    hosts.gateway.pull()
    hosts.storage.write("models/rollout.json", b'{"champion": "gone"}')
    with pytest.raises(CorruptArtefact):
        hosts.gateway.pull()
    assert ModelRegistry(hosts.gateway.folder).rollout().champion == "one"
    with pytest.raises(NotFound):
        hosts.gateway.promote("never-made")


def test_without_a_storage_the_folder_is_all_there_is(tmp_path: Path) -> None:
    assert type(open_registry(tmp_path, None)) is ModelRegistry
