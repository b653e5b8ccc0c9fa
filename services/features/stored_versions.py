"""Versions in object storage: whoever makes one publishes it there, and other hosts fetch it beside what they have.

`<kind>/<version>/` holds one, the manifest uploaded last; `<kind>/current`, written after that, names the one in use.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import msgspec

from services.core.errors import CorruptArtefact
from services.core.logging import get_logger
from services.core.storage import ObjectStorage, plain
from services.features.snapshot_files import MANIFEST, FileEntry, check_sizes
from services.features.versions import CURRENT, current_folder, make_current

KEPT = 3
"""Versions in the storage: whoever fetches one has until two more are published."""
NOTHING: Mapping[str, bytes] = MappingProxyType({})

log = get_logger("storage")


class ManifestOfFiles(Protocol):
    """What a manifest of any kind has: when it was made, epoch seconds, and each file by its path in the folder."""

    @property
    def version(self) -> str: ...

    @property
    def created(self) -> float: ...

    @property
    def files(self) -> dict[str, FileEntry]: ...


@dataclass(frozen=True)
class StoredKind:
    """A kind of version. `name`: its folder in the storage; `manifest`: the type of its manifest; `read`: the manifest
    of a folder here, which raises CorruptArtefact where the folder is not whole; `prune`: deletes old versions here;
    `what`, `cure`: for people, what it is and what to do where it is damaged."""

    name: str
    manifest: type[ManifestOfFiles]
    read: Callable[[Path], ManifestOfFiles]
    prune: Callable[[Path], object]
    what: str
    cure: str


def stored_version(name: str, storage: ObjectStorage) -> str | None:
    """The storage's current version of the kind of this name, None where it has none.

    Raises:
        CorruptArtefact: it is no name.
        DependencyDown: the storage does not answer.
    """
    named = storage.read(f"{name}/{CURRENT}")
    return None if named is None else plain(named.decode(errors="replace").strip())


def stored_manifest(kind: StoredKind, storage: ObjectStorage) -> ManifestOfFiles | None:
    """The manifest of the storage's current version, None where it has none.

    Raises:
        CorruptArtefact: there should be one, and is none.
        DependencyDown: the storage does not answer.
    """
    version = stored_version(kind.name, storage)
    return None if version is None else _stored(kind, version, storage)[1]


def push_version(
    kind: StoredKind,
    folder: Path,
    storage: ObjectStorage,
    beside: Mapping[str, bytes] = NOTHING,
    *,
    again: bool = False,
) -> None:
    """Upload a version, unless it is there, make it the current one there, and delete those long replaced.

    `beside`: files that lie with it in the storage and are not fetched with it. `again`: upload it although it is
    there, as what is there is damaged.

    Raises:
        CorruptArtefact: the folder is not whole.
        DependencyDown: the storage does not take it.
    """
    kind.read(folder)
    name = f"{kind.name}/{folder.name}"
    if again or storage.read(f"{name}/{MANIFEST}") != (folder / MANIFEST).read_bytes():
        storage.upload(folder, name, last=MANIFEST)
    for file, data in beside.items():
        storage.write(f"{name}/{file}", data)
    make_stored_current(kind.name, folder.name, storage)


def make_stored_current(name: str, version: str, storage: ObjectStorage) -> None:
    """Make a version, which is there, the current one of its kind in the storage, and delete those long replaced."""
    storage.write(f"{name}/{CURRENT}", version.encode())
    for other in storage.folders(name)[:-KEPT]:
        if other != version:
            storage.delete(f"{name}/{other}")


def pull_version(kind: StoredKind, root: Path, storage: ObjectStorage) -> Path | None:
    """Fetch the storage's current version, if it is not here, and make it the current one here.

    Files that are the same in the version that is current here are linked instead. Returns the folder; None where the
    storage has none.

    Raises:
        CorruptArtefact: what the storage holds is not what its manifest says. What is current here stays so.
        DependencyDown: the storage does not answer.
    """
    version = stored_version(kind.name, storage)
    if version is None:
        return None
    folder, current = root / version, current_folder(root)
    if folder == current and (folder / MANIFEST).is_file():
        return folder
    if not _is_whole(kind, folder):  # one of another format is: fetching it again would not help
        shutil.rmtree(folder, ignore_errors=True)
        written, manifest = _stored(kind, version, storage)
        digests = {file: entry.sha256 for file, entry in manifest.files.items()}
        like = folder if current is None else current
        storage.fetch(f"{kind.name}/{version}", folder, digests, {MANIFEST: written}, like)
    kind.read(folder)
    make_current(root, version)
    kind.prune(root)
    return folder


def follow_version(kind: StoredKind, root: Path, storage: ObjectStorage) -> tuple[Path | None, bool]:
    """`pull_version` for a worker that can make the version anew: what is damaged is none. Returns the folder, and
    whether the storage's version is damaged.

    Raises:
        DependencyDown: the storage does not answer.
    """
    try:
        return pull_version(kind, root, storage), False
    except CorruptArtefact as error:
        log.warning("storage-unusable", error=str(error))
        return None, True


def _is_whole(kind: StoredKind, folder: Path) -> bool:
    try:
        files = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=kind.manifest).files
        check_sizes(folder, files, kind.cure)
    except (OSError, msgspec.DecodeError, CorruptArtefact):
        return False
    return True


def _stored(kind: StoredKind, version: str, storage: ObjectStorage) -> tuple[bytes, ManifestOfFiles]:
    """The manifest as it is in the storage."""
    name = f"{kind.name}/{version}"
    written = storage.read(f"{name}/{MANIFEST}")
    if written is None:
        raise CorruptArtefact(f"{name} in the storage has no manifest: {kind.cure}")
    try:
        manifest = msgspec.json.decode(written, type=kind.manifest)
    except msgspec.DecodeError as error:
        raise CorruptArtefact(f"{name} in the storage is no {kind.what}: {kind.cure}") from error
    if not manifest.files:
        raise CorruptArtefact(f"{name} in the storage names no files: {kind.cure}")
    return written, manifest
