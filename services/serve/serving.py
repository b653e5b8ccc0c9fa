"""What is served right now: a snapshot, the models and the search index over it, swapped as one value."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.core.errors import CorruptArtefact, PortraitError
from services.core.logging import get_logger
from services.core.metrics import ServingMetrics
from services.features.snapshot import ItemSnapshot, current_snapshot
from services.recommend.models import pipeline_over
from services.recommend.pipeline import RecommendationPipeline
from services.registry.artefact import LoadedModel
from services.registry.registry import BLEND, ModelRegistry, Rollout
from services.serve.buckets import in_share
from services.serve.search_serving import SearchFiles, Searching

POLL_S = 1.0

log = get_logger("gateway")


@dataclass(frozen=True)
class Serving:
    """A snapshot with the pipelines over it. A request keeps the one it started with.

    `canary`, if any, answers the users of the first `canary_share` of 10,000 buckets; `shadow` answers nobody.
    """

    snapshot: ItemSnapshot
    pipeline: RecommendationPipeline
    rollout: Rollout = field(default_factory=Rollout)
    canary: RecommendationPipeline | None = None
    shadow: RecommendationPipeline | None = None
    search: Searching | None = None

    def pipeline_of(self, user_id: str) -> RecommendationPipeline:
        """The pipeline that answers a user: always the same one during a rollout."""
        return self.canary if self.canary is not None and self._tries(user_id) else self.pipeline

    def version_of(self, user_id: str) -> str:
        """The version in the registry of the models behind `pipeline_of`."""
        tried = self.rollout.canary if self.canary is not None and self._tries(user_id) else None
        return self.rollout.champion if tried is None else tried

    def _tries(self, user_id: str) -> bool:
        return in_share(user_id, self.rollout.canary_share)


class SnapshotWatcher:
    """Follows the current snapshot and the rollout of models; opens and warms what is new beside the old, then swaps
    both together. What cannot be opened leaves what serves in place."""

    def __init__(
        self, snapshots: Path, metrics: ServingMetrics, models: Path | None = None, search: SearchFiles | None = None
    ) -> None:
        self._snapshots, self._metrics, self._search = snapshots, metrics, search
        self._registry = None if models is None else ModelRegistry(models)
        self._folder: Path | None = None
        self._loaded: dict[str, LoadedModel] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self.serving: Serving | None = None
        self.failure: str | None = None
        self.model_failure: str | None = None
        self._refused: Rollout | None = None

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
        """Swap to the current snapshot and models if they are others. Models that cannot serve leave the old ones in
        place, or the linear blend where there were none; so does a snapshot that cannot be opened."""
        try:
            folder = current_snapshot(self._snapshots)
            if folder is None:
                return
            rollout = self._wanted()
            served = self.serving
            if served is not None and folder == self._folder and rollout in (served.rollout, self._refused):
                self._refresh_search(served)
                return
            snapshot = served.snapshot if served is not None and folder == self._folder else ItemSnapshot.open(folder)
            found = self._with_models(snapshot, rollout)
            for pipeline in (found.pipeline, found.canary, found.shadow):
                if pipeline is not None:
                    pipeline.warm()
            kept = None if served is None else served.search
            found = replace(found, search=self._searching(snapshot) or kept)
        except (PortraitError, OSError, ValueError) as error:
            if self.failure is None:
                log.warning("snapshot-unusable", error=str(error))
            self.failure = str(error)
            self._metrics.snapshot_failures.inc()
            return
        self.serving, self._folder, self.failure = found, folder, None
        self._metrics.snapshot_items.set(snapshot.count)
        self._metrics.snapshot_created.set(snapshot.created)
        log.info("snapshot-served", version=snapshot.version, items=snapshot.count, model=found.rollout.champion)

    def _refresh_search(self, served: Serving) -> None:
        """Swap to the search index that is published now, over the snapshot that is served."""
        if self._search is not None and self._search.changed():
            found = self._searching(served.snapshot)
            if found is not None:
                self.serving = replace(served, search=found)

    def _searching(self, snapshot: ItemSnapshot) -> Searching | None:
        return None if self._search is None else self._search.over(snapshot)

    def _wanted(self) -> Rollout:
        """The rollout; while its file cannot be read, what serves now."""
        if self._registry is None:
            return Rollout()
        try:
            return self._registry.rollout()
        except CorruptArtefact as error:
            self._complain(error)
            return Rollout() if self.serving is None else self.serving.rollout

    def _with_models(self, snapshot: ItemSnapshot, rollout: Rollout) -> Serving:
        try:
            made = self._serving(snapshot, rollout)
        except (PortraitError, OSError, ValueError) as error:
            self._complain(error)
            self._refused = rollout
            kept = Rollout() if self.serving is None else self.serving.rollout
            try:
                return self._serving(snapshot, kept)
            except (PortraitError, OSError, ValueError):
                return self._serving(snapshot, Rollout())
        self._refused = self.model_failure = None
        return made

    def _serving(self, snapshot: ItemSnapshot, rollout: Rollout) -> Serving:
        wanted = [rollout.champion, rollout.canary, rollout.shadow]
        loaded = {version: self._load(version) for version in wanted if version not in (None, BLEND)}
        pipelines = [None if version is None else pipeline_over(snapshot, loaded.get(version)) for version in wanted]
        self._loaded = loaded
        champion = pipelines[0]
        assert champion is not None  # a rollout names one
        return Serving(snapshot, champion, rollout, pipelines[1], pipelines[2])

    def _load(self, version: str) -> LoadedModel:
        assert self._registry is not None  # without one nothing but the blend is wanted
        return self._loaded.get(version) or self._registry.load(version)

    def _complain(self, error: Exception) -> None:
        if self.model_failure != str(error):
            log.warning("model-unusable", error=str(error))
            self._metrics.model_failures.inc()
        self.model_failure = str(error)

    def _run(self) -> None:
        failed = ""
        while not self._stop.wait(POLL_S):
            try:
                self.refresh()
                failed = ""
            except Exception as error:  # a thread that ends here would leave the gateway behind for ever
                self._metrics.snapshot_failures.inc()
                if repr(error) != failed:
                    log.exception("snapshot-watch-failed")
                failed = repr(error)
