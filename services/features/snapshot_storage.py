"""Item snapshots in object storage: whoever builds one publishes it there, and other hosts fetch it and map it.

`snapshots/<version>/` holds one, the manifest uploaded last; `snapshots/current` names the one in use.
"""

from pathlib import Path

import msgspec

from services.core.errors import CorruptArtefact
from services.core.storage import ObjectStorage, plain
from services.features.snapshot import current_snapshot
from services.features.snapshot_build import KEPT, prune, publish
from services.features.snapshot_files import MANIFEST, Manifest, read_manifest
from services.features.versions import CURRENT

FOLDER = "snapshots"


def push_snapshot(folder: Path, storage: ObjectStorage) -> None:
    """Upload a snapshot, unless it is there, make it the current one there, and delete those long replaced.

    Raises:
        CorruptArtefact: the folder holds no snapshot.
        DependencyDown: the storage does not take it.
    """
    read_manifest(folder)
    name = f"{FOLDER}/{folder.name}"
    if storage.read(f"{name}/{MANIFEST}") is None:
        storage.upload(folder, name, last=MANIFEST)
    storage.write(f"{FOLDER}/{CURRENT}", folder.name.encode())
    for version in storage.folders(FOLDER)[:-KEPT]:
        if version != folder.name:
            storage.delete(f"{FOLDER}/{version}")


def pull_snapshot(snapshots: Path, storage: ObjectStorage) -> Path | None:
    """Fetch the storage's current snapshot, if it is not here, and make it the current one here.

    Files that are the same in the snapshot that is current here are linked instead. Returns the folder; None where the
    storage has none.

    Raises:
        CorruptArtefact: what the storage holds is not what its manifest says. What is current here stays so.
        DependencyDown: the storage does not answer.
    """
    named = storage.read(f"{FOLDER}/{CURRENT}")
    if named is None:
        return None
    version = plain(named.decode().strip())
    folder, current = snapshots / version, current_snapshot(snapshots)
    if folder == current and (folder / MANIFEST).is_file():
        return folder
    if not (folder / MANIFEST).is_file():
        name = f"{FOLDER}/{version}"
        written = storage.read(f"{name}/{MANIFEST}")
        digests = {file: entry.sha256 for file, entry in _manifest(name, written).files.items()}
        assert written is not None  # `_manifest` refuses it
        storage.fetch(name, folder, digests, {MANIFEST: written}, like=folder if current is None else current)
    publish(snapshots, version)
    prune(snapshots)
    return folder


def _manifest(name: str, written: bytes | None) -> Manifest:
    if written is None:
        raise CorruptArtefact(f"{name} in the storage has no manifest: ask for a new snapshot (recompute `snapshot`)")
    try:
        return msgspec.json.decode(written, type=Manifest)
    except msgspec.DecodeError as error:
        raise CorruptArtefact(f"{name} in the storage is no item snapshot: build a new one") from error
