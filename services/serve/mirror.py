"""Keeps this host's snapshots, models and search rankers as they are in object storage, where one is configured."""

import fcntl
import threading

from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.features.snapshot_storage import pull_snapshot
from services.registry.storage import StoredRegistry, stored_search_registry

POLL_S = 2.0

log = get_logger("gateway")


class Mirror:
    """Pulls what is current, at first and then every two seconds; `SnapshotWatcher` notices what it brings.

    Replicas of one host share its home: one of them pulls at a time. What cannot be pulled leaves what is here.
    """

    def __init__(self, paths: HomePaths, storage_url: str) -> None:
        self._snapshots = paths.snapshots
        self._storage = ObjectStorage(storage_url)
        self._registries = (StoredRegistry(paths.models, self._storage), stored_search_registry(paths, self._storage))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)
        self.failure: str | None = None

    def start(self) -> None:
        """Pull what is there now, then follow it."""
        self.pull()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def pull(self) -> None:
        """Fetch the current snapshot, and the models and rankers that serve; what fails is logged once."""
        self._snapshots.mkdir(parents=True, exist_ok=True)
        try:
            with (self._snapshots / ".pull.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for registry in self._registries:
                    registry.pull()
                pull_snapshot(self._snapshots, self._storage)
        except (PortraitError, OSError) as error:
            if self.failure != str(error):
                log.warning("storage-unusable", error=str(error))
            self.failure = str(error)
            return
        self.failure = None

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self.pull()


def start_mirror(paths: HomePaths, storage_url: str | None) -> Mirror | None:
    """A started mirror, or None where no storage is configured: the home is all there is."""
    if storage_url is None:
        return None
    mirror = Mirror(paths, storage_url)
    mirror.start()
    return mirror
