"""Snapshots through object storage: one host publishes, another fetches the same and serves it."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_repo.names import ENGAGEMENT_FEATURES
from services.core.errors import CorruptArtefact
from services.core.storage import ObjectStorage
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.features.snapshot_build import build_snapshot, publish
from services.features.snapshot_files import MANIFEST
from services.features.snapshot_storage import SNAPSHOTS, pull_snapshot, push_snapshot
from services.features.snapshot_tables import SnapshotTables
from services.features.stored_versions import follow_version, push_version

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
EMPTY = {"vectors": ("item_id", "space", "vector"), "co_engagement": ("item_id", "neighbour_id", "score")}


@pytest.fixture
def storage() -> ObjectStorage:
    return ObjectStorage(f"memory://{uuid.uuid4().hex}")


def tables(price: float) -> SnapshotTables:
    text, number = pa.string(), pa.float64()
    items = {
        "item_id": pa.array(["a"], text),
        "title": pa.array(["Apple"], text),
        "brand": pa.array([None], text),
        "categories": pa.array([["Food"]], pa.list_(text)),
        "price": pa.array([price], number),
        "currency": pa.array(["EUR"], text),
        "attributes": pa.array(["{}"], text),
        "available": pa.array([True]),
        "published_at": pa.array([None], pa.timestamp("us", tz="UTC")),
    }
    nothing = {"vector": pa.binary(), "score": pa.float32()}
    return SnapshotTables(
        items=pa.table(items),
        engagement=pa.table({"item_id": pa.array(["a"], text), **{n: pa.array([0.5]) for n in ENGAGEMENT_FEATURES}}),
        **{
            name: pa.table({column: pa.array([], nothing.get(column, text)) for column in columns})
            for name, columns in EMPTY.items()
        },
    )


def build(home: Path, price: float, hours: int = 0) -> Path:
    return publish(home, build_snapshot(tables(price), home, now=NOW + timedelta(hours=hours)))


def test_another_host_serves_what_was_published(storage: ObjectStorage, tmp_path: Path) -> None:
    assert pull_snapshot(tmp_path / "there", storage) is None
    built = build(tmp_path / "here", 3.0)
    push_snapshot(built, storage)
    fetched = pull_snapshot(tmp_path / "there", storage)
    assert fetched == current_snapshot(tmp_path / "there") and fetched.name == built.name
    snapshot = ItemSnapshot.open(fetched)
    snapshot.verify()
    assert snapshot.price.tolist() == [3.0]


def test_the_next_one_links_what_did_not_change(storage: ObjectStorage, tmp_path: Path) -> None:
    push_snapshot(build(tmp_path / "here", 3.0), storage)
    first = pull_snapshot(tmp_path / "there", storage)
    push_snapshot(build(tmp_path / "here", 4.0, hours=1), storage)
    second = pull_snapshot(tmp_path / "there", storage)
    assert pull_snapshot(tmp_path / "there", storage) == second != first
    assert (second / "titles.bytes.npy").samefile(first / "titles.bytes.npy")
    assert ItemSnapshot.open(second).price.tolist() == [4.0] and ItemSnapshot.open(first).price.tolist() == [3.0]


def test_the_storage_keeps_three(storage: ObjectStorage, tmp_path: Path) -> None:
    built = [build(tmp_path / "here", float(n), hours=n) for n in range(5)]
    for folder in built:
        push_snapshot(folder, storage)
    assert storage.folders("snapshots") == [folder.name for folder in built[2:]]


@pytest.mark.parametrize("current", [b"../../etc", b"20261101T120000-gone"])
def test_a_name_of_nothing_leaves_what_is_served(storage: ObjectStorage, tmp_path: Path, current: bytes) -> None:
    push_snapshot(build(tmp_path / "here", 3.0), storage)
    first = pull_snapshot(tmp_path / "there", storage)
    storage.write("snapshots/current", current)
    with pytest.raises(CorruptArtefact):
        pull_snapshot(tmp_path / "there", storage)
    assert current_snapshot(tmp_path / "there") == first


def test_a_damaged_file_is_not_served(storage: ObjectStorage, tmp_path: Path) -> None:
    built = build(tmp_path / "here", 3.0)
    push_snapshot(built, storage)
    storage.write(f"snapshots/{built.name}/price.npy", b"damaged")
    with pytest.raises(CorruptArtefact, match=r"price\.npy"):
        pull_snapshot(tmp_path / "there", storage)
    assert current_snapshot(tmp_path / "there") is None and not (tmp_path / "there" / built.name).exists()
    assert (built / MANIFEST).is_file()


def test_who_can_build_anew_mends_what_is_damaged(storage: ObjectStorage, tmp_path: Path) -> None:
    built = build(tmp_path / "here", 3.0)
    push_snapshot(built, storage)
    storage.write(f"snapshots/{built.name}/price.npy", b"damaged")
    assert follow_version(SNAPSHOTS, tmp_path / "there", storage) == (None, True)
    push_version(SNAPSHOTS, built, storage, again=True)
    fetched, damaged = follow_version(SNAPSHOTS, tmp_path / "there", storage)
    assert fetched is not None and fetched.name == built.name and not damaged


def test_a_folder_that_lost_a_file_is_fetched_again(storage: ObjectStorage, tmp_path: Path) -> None:
    built = build(tmp_path / "here", 3.0)
    push_snapshot(built, storage)
    fetched = pull_snapshot(tmp_path / "there", storage)
    (fetched / "price.npy").unlink()
    (tmp_path / "there" / "current").unlink()
    assert ItemSnapshot.open(pull_snapshot(tmp_path / "there", storage)).price.tolist() == [3.0]


def test_a_manifest_that_was_cut_short_while_uploaded_is_uploaded_again(storage: ObjectStorage, tmp_path: Path) -> None:
    built = build(tmp_path / "here", 3.0)
    push_snapshot(built, storage)
    storage.write(f"snapshots/{built.name}/{MANIFEST}", b"{")
    push_snapshot(built, storage)
    assert pull_snapshot(tmp_path / "there", storage) is not None
