"""What is served right now: one snapshot and the pipeline over it, swapped as one value."""

import threading
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import PortraitError
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.recommend.pipeline import RecommendationPipeline

POLL_S = 1.0

log = get_logger("gateway")


@dataclass(frozen=True)
class Serving:
    """A snapshot with its pipeline. A request keeps the one it started with."""

    snapshot: ItemSnapshot
    pipeline: RecommendationPipeline


class SnapshotWatcher:
    """Follows the pointer to the current snapshot; opens and warms a new one beside the old, then swaps."""

    def __init__(self, snapshots: Path, metrics: ServingMetrics) -> None:
        self._snapshots, self._metrics = snapshots, metrics
        self._folder: Path | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self.serving: Serving | None = None
        self.failure: str | None = None

    def start(self) -> None:
        """Open what is there now, then follow it."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    @property
    def usable(self) -> bool:
        """Whether recommendations can be answered: a snapshot is open, or the shop has none yet."""
        return self.serving is not None or (self.failure is None and current_snapshot(self._snapshots) is None)

    def refresh(self) -> None:
        """Swap to the current snapshot if it is another one. One that cannot be opened leaves the old one in place."""
        try:
            folder = current_snapshot(self._snapshots)
            if folder is None or folder == self._folder:
                return
            snapshot = ItemSnapshot.open(folder)
            pipeline = RecommendationPipeline(snapshot)
            pipeline.warm()
        except (PortraitError, OSError, ValueError) as error:
            if self.failure is None:
                log.warning("snapshot-unusable", error=str(error))
            self.failure = str(error)
            self._metrics.snapshot_failures.inc()
            return
        self.serving, self._folder, self.failure = Serving(snapshot, pipeline), folder, None
        self._metrics.snapshot_items.set(snapshot.count)
        self._metrics.snapshot_created.set(snapshot.created)
        log.info("snapshot-served", version=snapshot.version, items=snapshot.count)

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self.refresh()
