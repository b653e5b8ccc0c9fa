"""Item snapshots in object storage: whoever builds one publishes it there, and other hosts fetch it and map it."""

from pathlib import Path

from services.core.storage import ObjectStorage
from services.features.snapshot_build import prune
from services.features.snapshot_files import Manifest, read_manifest
from services.features.stored_versions import StoredKind, pull_version, push_version

FOLDER = "snapshots"
SNAPSHOTS = StoredKind(
    FOLDER, Manifest, read_manifest, prune, "item snapshot", "ask for a new snapshot (recompute `snapshot`)"
)


def push_snapshot(folder: Path, storage: ObjectStorage) -> None:
    """Publish a snapshot in the storage (see `push_version`)."""
    push_version(SNAPSHOTS, folder, storage)


def pull_snapshot(snapshots: Path, storage: ObjectStorage) -> Path | None:
    """Make the storage's current snapshot the current one here (see `pull_version`)."""
    return pull_version(SNAPSHOTS, snapshots, storage)
