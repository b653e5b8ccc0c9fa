"""Examples for the ranker from lists that were served: what was shown, by which features, and what came of it.

A click needs an examined position, and what stands high is examined more. Hits are therefore weighted by the inverse
of the probability that they could be seen: that of the position's examination, times that of the slot's exploration
(Joachims, Swaminathan and Schnabel 2017, "Unbiased learning-to-rank with biased feedback"), clipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from services.features.served_lists import ListsManifest, read_lists, read_manifest
from services.features.transforms import FEATURES
from services.networks.ranker_config import TASKS
from services.registry.manifest import feature_hash
from services.registry.registry import BLEND
from training.ranker import HITS, Examples

COLUMNS = (
    "user_id",
    "model_version",
    "feature_hash",
    "features",
    "item_ids",
    "propensities",
    "event_items",
    "event_types",
)
"""What training reads; the portraits are in the data set for the replay."""

IMPRESSIONS, CANDIDATES = "impressions", "candidates"
"""What taught a ranker, as its manifest says."""


@dataclass(frozen=True)
class ImpressionSettings:
    """When and how served lists teach. `fewest`: lists with a hit below which sampled candidates teach instead;
    `most`: of the newest lists; `most_weight`: the clip of a hit's weight; `debias`: whether hits are weighted."""

    fewest: int = 1_000
    most: int = 200_000
    most_weight: float = 20.0
    debias: bool = True


@dataclass(frozen=True)
class ServedLists:
    """The lists of an exported data set; `examination`: P(examined) by position, lower ones like the last."""

    folder: Path
    examination: tuple[float, ...]
    settings: ImpressionSettings = ImpressionSettings()

    @property
    def manifest(self) -> ListsManifest:
        return read_manifest(self.folder)

    def examples(self, without: Sequence[str] = ()) -> Examples | None:
        """The examples, but those of the users `without`; None where sampled candidates teach better, by this rule.

        Lists count that a published user model retrieved and that were ranked by the features of this version: what
        another model ranked lacks the learned query. Of these, `fewest` must have led to a click.
        """
        parts, found, useful = [], 0, 0
        for batch in read_lists(self.folder, COLUMNS):
            lists = usable(batch, without)
            if lists.num_rows:
                part = examples_of(lists, self.examination, self.settings)
                parts.append(part)
                found, useful = found + len(part), useful + int(part.hit_users.any(axis=1).sum())
            if found >= self.settings.most:
                break
        return _joined(parts) if useful >= max(self.settings.fewest, 1) else None


def usable(batch: pa.RecordBatch | pa.Table, without: Sequence[str]) -> pa.Table:
    """The lists of a batch that may teach."""
    frame = pl.from_arrow(batch)
    kept = (
        (pl.col("model_version") != BLEND)
        & (pl.col("feature_hash") == feature_hash(FEATURES))
        & ~pl.col("user_id").is_in(list(without))
        & (pl.col("features").bin.size() == 4 * len(FEATURES) * pl.col("item_ids").list.len())
        & (pl.col("item_ids").list.len() > 0)
    )
    return frame.filter(kept).to_arrow()


def examples_of(lists: pa.Table, examination: Sequence[float], settings: ImpressionSettings) -> Examples:
    """The examples of some lists, one list's after the other."""
    frame = pl.from_arrow(lists).with_row_index("row")
    shown = frame.select("row", item="item_ids", propensity="propensities").explode("item", "propensity")
    values = np.frombuffer(b"".join(frame["features"]), "<f4").reshape(-1, len(FEATURES))
    counts = frame["item_ids"].list.len().to_numpy()
    starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
    position = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    weights = hit_weights(position, shown["propensity"].to_numpy(), examination, settings)
    return Examples(values.astype(np.float16), _hits(frame, shown), starts, weights)


def hit_weights(
    position: NDArray[np.int64],
    propensity: NDArray[np.float32],
    examination: Sequence[float],
    settings: ImpressionSettings,
) -> NDArray[np.float32]:
    """(n,) inverse probabilities with which a hit at these positions could be seen, at most `most_weight`."""
    if not settings.debias:
        return np.ones(len(position), np.float32)
    curve = np.asarray(examination, np.float64)
    examined = curve[np.minimum(position, len(curve) - 1)]
    seen = np.maximum(examined * propensity, 1 / settings.most_weight)
    return (1 / seen).astype(np.float32)


def _hits(frame: pl.DataFrame, shown: pl.DataFrame) -> NDArray[np.bool_]:
    """(n, tasks): which shown items had an attributed event of each task."""
    events = frame.select("row", item="event_items", kind="event_types").explode("item", "kind").drop_nulls("item")
    told = [pl.col("kind").is_in([kind.value for kind in HITS[task]]).any().alias(task) for task in TASKS]
    came = events.group_by("row", "item").agg(told)
    joined = shown.join(came, on=["row", "item"], how="left", maintain_order="left")
    return joined.select(pl.col(task).fill_null(False) for task in TASKS).to_numpy()


def _joined(parts: Sequence[Examples]) -> Examples:
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    return Examples(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.hits for part in parts]),
        np.concatenate(([0], np.cumsum(counts))),
        np.concatenate([part.weight for part in parts]),
    )
