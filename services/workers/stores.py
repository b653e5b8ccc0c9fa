"""The feature stores of this worker: Feast is opened when a task first needs it."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from services.core.addresses import Addresses
from services.core.clock import utc_now
from services.core.paths import HomePaths
from services.core.storage import open_storage
from services.features.materialize import materialize
from services.features.offline.reader import OfflineReader
from services.features.online import OnlineWriter, open_store
from services.features.snapshot_build import build_snapshot, prune, publish
from services.features.snapshot_storage import SNAPSHOTS
from services.features.snapshot_tables import SnapshotTables
from services.features.stored_versions import follow_version, push_version


class Stores:
    """Online and offline store over one open registry."""

    def __init__(self, addresses: Addresses, paths: HomePaths, storage_url: str | None = None) -> None:
        self._addresses, self._paths = addresses, paths
        self._storage = open_storage(storage_url)

    @cached_property
    def writer(self) -> OnlineWriter:
        return OnlineWriter(self._addresses, self._feast)

    @cached_property
    def reader(self) -> OfflineReader:
        return OfflineReader(self._addresses, self._feast)

    def publish_snapshot(self, tables: SnapshotTables, prepare: Callable[[Path], None] = lambda _: None) -> str:
        """Build a snapshot of these tables and make it the current one; its version. `prepare` is given its folder
        before: what gateways need beside it is then there when they swap."""
        snapshots, damaged = self._paths.snapshots, False
        if self._storage is not None:  # another host may have built from the same tables
            _, damaged = follow_version(SNAPSHOTS, snapshots, self._storage)
        version = build_snapshot(tables, snapshots, now=utc_now())
        prepare(snapshots / version)
        folder = publish(snapshots, version)
        if self._storage is not None:
            push_version(SNAPSHOTS, folder, self._storage, again=damaged)
        prune(snapshots)
        return version

    def materialize(self, progress: Callable[[float], None], *, everything: bool) -> dict[str, Any]:
        """Write the newest rows of every view to the online store, or only rows since the last time; rows by view."""
        return materialize(self.reader, self.writer, everything=everything, progress=progress).as_dict()

    @cached_property
    def _feast(self) -> Any:
        return open_store(self._addresses)
