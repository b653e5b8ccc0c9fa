"""Keeps this host's snapshots, models and search as they are in object storage, where one is configured."""

import fcntl
import threading
from collections.abc import Callable, Iterator
from functools import partial

from services.core.errors import DependencyDown, PortraitError
from services.core.logging import get_logger
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.features.snapshot_storage import pull_snapshot
from services.registry.storage import StoredRegistry, stored_search_registry
from services.search.search_storage import served_parts

POLL_S = 2.0

log = get_logger("gateway")


class Mirror:
    """Pulls what is current, at first and then every two seconds; `SnapshotWatcher` notices what it brings.

    Replicas of one host share its home: one of them pulls at a time. What cannot be pulled leaves what is here, and the
    rest is pulled all the same.
    """

    def __init__(self, paths: HomePaths, storage_url: str) -> None:
        self._snapshots = paths.snapshots
        storage = ObjectStorage(storage_url)
        self._parts: tuple[Callable[[], object], ...] = (
            StoredRegistry(paths.models, storage).pull,
            stored_search_registry(paths, storage).pull,
            *served_parts(paths, storage),
            partial(pull_snapshot, paths.snapshots, storage),
        )
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
        """Fetch the current snapshot, what serves of models and rankers, and search; what fails is logged once."""
        try:
            self._snapshots.mkdir(parents=True, exist_ok=True)
            with (self._snapshots / ".pull.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                failure = "; ".join(self._pull_parts()) or None
        except OSError as error:
            failure = str(error)
        if failure is not None and failure != self.failure:
            log.warning("storage-unusable", error=failure)
        self.failure = failure

    def _pull_parts(self) -> Iterator[str]:
        """Pull each part, and say what failed; nothing more is asked of a storage that does not answer."""
        for pull in self._parts:
            try:
                pull()
            except DependencyDown as error:
                yield str(error)
                return
            except (PortraitError, OSError) as error:
                yield str(error)

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
