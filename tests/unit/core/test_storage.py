"""Object storage: whole or not at all, verified, and no name leads elsewhere."""

import hashlib
import uuid
from pathlib import Path

import pytest

from services.core.errors import CorruptArtefact, DependencyDown
from services.core.storage import ObjectStorage, plain


@pytest.fixture(params=["memory", "folder"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStorage:
    shop = uuid.uuid4().hex
    return ObjectStorage(f"memory://{shop}" if request.param == "memory" else (tmp_path / "bucket").as_uri())


def folder(path: Path, **files: bytes) -> Path:
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path


def digests(**files: bytes) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_small_files_are_replaced_and_missing_ones_are_none(storage: ObjectStorage) -> None:
    assert storage.read("a/current") is None
    storage.write("a/current", b"one")
    storage.write("a/current", b"two")
    assert storage.read("a/current") == b"two"


def test_a_folder_comes_back_as_it_was(storage: ObjectStorage, tmp_path: Path) -> None:
    storage.upload(folder(tmp_path / "made", x=b"1", y=b"22", end=b"m"), "kind/v1", last="end")
    assert storage.folders("kind") == ["v1"] and storage.folders("none") == []
    storage.fetch("kind/v1", tmp_path / "got", digests(x=b"1", y=b"22"), {"end": b"m"}, like=tmp_path / "none")
    assert {p.name: p.read_bytes() for p in (tmp_path / "got").iterdir()} == {"x": b"1", "y": b"22", "end": b"m"}
    storage.delete("kind/v1")
    storage.delete("kind/v1")
    assert storage.folders("kind") == []


@pytest.mark.parametrize("damage", [b"changed", None])
def test_what_is_damaged_or_missing_leaves_nothing_behind(storage: ObjectStorage, tmp_path: Path, damage) -> None:
    storage.upload(folder(tmp_path / "made", x=b"1"), "kind/v1", last="x")
    wanted = digests(x=b"1") if damage is None else digests(x=damage)
    if damage is None:
        wanted |= digests(y=b"2")
    with pytest.raises(CorruptArtefact, match="publish this version again"):
        storage.fetch("kind/v1", tmp_path / "here" / "got", wanted, {}, like=tmp_path / "none")
    assert list((tmp_path / "here").iterdir()) == []


def test_files_that_are_here_already_are_linked(storage: ObjectStorage, tmp_path: Path) -> None:
    storage.upload(folder(tmp_path / "made", same=b"1", other=b"2"), "kind/v2", last="same")
    before = folder(tmp_path / "v1", same=b"1", other=b"old")
    storage.fetch("kind/v2", tmp_path / "v2", digests(same=b"1", other=b"2"), {}, like=before)
    assert (tmp_path / "v2" / "same").samefile(before / "same")
    assert (tmp_path / "v2" / "other").read_bytes() == b"2" and (before / "other").read_bytes() == b"old"


def test_folders_within_a_folder_come_too(storage: ObjectStorage, tmp_path: Path) -> None:
    folder(folder(tmp_path / "made", x=b"1") / "part", **{".meta": b"2"})
    storage.upload(tmp_path / "made", "kind/v1", last="x")
    wanted = digests(x=b"1") | digests(**{"part/.meta": b"2"})
    storage.fetch("kind/v1", tmp_path / "got", wanted, {}, like=tmp_path / "none")
    assert (tmp_path / "got" / "part" / ".meta").read_bytes() == b"2"


@pytest.mark.parametrize("path", ["../x", "part/../../x", "/x", ".", "part/", "a//b"])
def test_a_path_that_leads_elsewhere_is_refused(storage: ObjectStorage, tmp_path: Path, path: str) -> None:
    folder(tmp_path / "like", x=b"1")
    with pytest.raises(CorruptArtefact, match="is no path"):
        storage.fetch("kind/v1", tmp_path / "got", {path: digests(x=b"1")["x"]}, {}, like=tmp_path / "like" / "part")
    assert not (tmp_path / "got").exists()


def test_who_comes_second_takes_what_another_process_has_fetched(storage: ObjectStorage, tmp_path: Path) -> None:
    storage.upload(folder(tmp_path / "made", x=b"1"), "kind/v1", last="x")
    for _ in range(2):
        storage.fetch("kind/v1", tmp_path / "here" / "v1", digests(x=b"1"), {}, like=tmp_path / "none")
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["v1"]
    assert (tmp_path / "here" / "v1" / "x").read_bytes() == b"1"


def test_a_storage_that_does_not_answer_is_a_dependency_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DependencyDown, match="storage"):
        ObjectStorage((tmp_path / "file").as_uri()).write("current", b"x")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a\n"])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(CorruptArtefact):
        plain(name)
