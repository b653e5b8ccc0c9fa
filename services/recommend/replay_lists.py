"""Replays a data set of served lists: from Feast's portraits and the same snapshots and models, value by value."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from services.core.errors import PortraitError
from services.features.served_lists import PORTRAIT, read_lists
from services.features.snapshot import ItemSnapshot
from services.features.transforms import FEATURES
from services.recommend.models import pipeline_over
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.replay import LoggedList, replay
from services.registry.manifest import feature_hash
from services.registry.registry import BLEND, ModelRegistry

SNAPSHOT_GONE, MODEL_GONE = "its snapshot is gone", "its model is gone"
OTHER_FEATURES, PORTRAIT_GONE = "its features are of another version", "its portrait is gone from the history"


@dataclass
class ReplayReport:
    """`strangers`: of the `replayed` lists, those of users without a portrait; `skipped`: why how many could not be
    made again; `differences`: by request what differs."""

    replayed: int = 0
    strangers: int = 0
    values: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    differences: dict[str, list[str]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-serialisable object."""
        return {
            "replayed": self.replayed,
            "strangers": self.strangers,
            "values": self.values,
            "skipped": dict(self.skipped),
            "differing": len(self.differences),
            "differences": self.differences,
        }


def replay_lists(folder: Path, snapshots: Path, models: Path, most: int) -> ReplayReport:
    """Make at most `most` of the newest lists again that can be: their snapshot and model must still be there."""
    report, made = ReplayReport(), _Pipelines(snapshots, models)
    wanted = feature_hash(FEATURES)
    for row in _newest_first(folder):
        if report.replayed >= most:
            break
        if row["feature_hash"] != wanted:
            report.skipped[OTHER_FEATURES] += 1
        elif row["portrait_at"] is not None and row[PORTRAIT] is None:
            report.skipped[PORTRAIT_GONE] += 1
        elif isinstance(pipeline := made.of(row["snapshot"], row["model_version"]), str):
            report.skipped[pipeline] += 1
        else:
            served = logged_list(row)
            said = replay(pipeline, served)
            report.replayed += 1
            report.strangers += served.packed is None
            report.values += served.features.size
            if said:
                report.differences[served.request_id] = said
    return report


def logged_list(row: dict[str, Any]) -> LoggedList:
    """A row of a data set of served lists."""
    return LoggedList(
        request_id=row["request_id"],
        user_id=row["user_id"],
        now=row["timestamp"].timestamp(),
        request=row["request"],
        packed=row[PORTRAIT],
        item_ids=tuple(row["item_ids"]),
        features=np.frombuffer(row["features"], "<f4").reshape(len(row["item_ids"]), -1),
        scores=np.float32(row["scores"]),
        propensities=np.float32(row["propensities"]),
    )


def _newest_first(folder: Path) -> Iterator[dict[str, Any]]:
    for batch in read_lists(folder):
        for number in reversed(range(batch.num_rows)):
            yield batch.slice(number, 1).to_pylist()[0]


class _Pipelines:
    """Pipelines by snapshot and model, or why there is none."""

    def __init__(self, snapshots: Path, models: Path) -> None:
        self._snapshots, self._registry = snapshots, ModelRegistry(models)
        self._opened: dict[str, ItemSnapshot | None] = {}
        self._made: dict[tuple[str, str], RecommendationPipeline | str] = {}

    def of(self, snapshot: str, version: str) -> RecommendationPipeline | str:
        if (snapshot, version) not in self._made:
            self._made[snapshot, version] = self._make(snapshot, version)
        return self._made[snapshot, version]

    def _make(self, name: str, version: str) -> RecommendationPipeline | str:
        if name not in self._opened:
            try:
                self._opened[name] = ItemSnapshot.open(self._snapshots / name)
            except PortraitError:
                self._opened[name] = None
        snapshot = self._opened[name]
        if snapshot is None:
            return SNAPSHOT_GONE
        try:
            return pipeline_over(snapshot, None if version == BLEND else self._registry.load(version))
        except PortraitError:
            return MODEL_GONE
