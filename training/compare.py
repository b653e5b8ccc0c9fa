"""Compares models on one shop's data: the work behind `portrait evaluate`.

What the workers make of events (item-to-item pairs, portraits, snapshots) is handed in as `Builders`: it is computed by
`services.profiles`, which training does not know.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core.errors import InvalidInput
from services.core.types import EventType
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from training import baselines
from training.baselines import EASE_ITEMS, FACTOR_ITEMS, PairBuilder
from training.configs import run_config
from training.evaluation import ModelResult, evaluate_all
from training.event_log import make_event_log
from training.html_report import html
from training.learned import LearnedModels, LearnedPipeline, UserModelRecommender
from training.list_store import ListStore
from training.lists import ForeignLists
from training.pipeline import PipelineInputs, PipelineRecommender
from training.recommender import Recommender
from training.report import document, markdown
from training.splits import LEAVE_ONE_OUT, TIME, Split, by_time, leave_one_out, only_cold_items
from training.user_model import Catalogue

BASELINES = ("popularity", "item-knn", "co-engagement", "last-item-content", "weighted-profile", "linear-blend")
"""`linear-blend` is the serving pipeline with weights set by hand."""
HEAVY = {"ease": EASE_ITEMS, "als": FACTOR_ITEMS, "bpr": FACTOR_ITEMS}
"""Baselines that grow too large, and the items from which on they are measured only when named."""
LEARNED = ("user-model", "user-model-unrefitted", "pipeline")
ON_REQUEST = ("pipeline-unrefitted",)
MODELS = (*BASELINES, *HEAVY, *LEARNED, *ON_REQUEST)
WITH_CONTENT = frozenset({"linear-blend", *LEARNED, *ON_REQUEST})
"""Models that use texts where there are any."""
CONTENT_MODELS = frozenset({"last-item-content", "weighted-profile"})
SPLITS = (LEAVE_ONE_OUT, TIME)
PARTS = ("test", "unrefitted", "validation")

ServingBuilder = Callable[[pa.Table, pa.Table], tuple[ItemSnapshot, Mapping[str, Portrait], float]]
"""(events to learn from, events known at the request) → item snapshot, portraits by user id, time of the requests."""


@dataclass(frozen=True)
class ShopData:
    """`events` and `items` in canonical columns; of items the learned models read categories, brands and prices (None:
    they know ids and vectors alone). `vectors` (items, D) float32 in the order of `item_ids`, unit or zero rows, None
    where there is nothing to encode."""

    source: str
    events: pa.Table
    item_ids: pa.Array
    vectors: NDArray[np.float32] | None
    items: pa.Table | None = None


@dataclass(frozen=True)
class Builders:
    """What the workers would make of events."""

    pairs: PairBuilder
    serving: ServingBuilder


@dataclass(frozen=True)
class Comparison:
    """Results, with the machine-readable document, the Markdown tables, and a page of its own with plots."""

    results: list[ModelResult]
    document: dict[str, Any]
    markdown: str
    html: str


def wanted_models(names: str) -> list[str]:
    """The models of a comma-separated list; when it is empty all but those of `ON_REQUEST`.

    Raises:
        InvalidInput: there is no such model.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()] or [*BASELINES, *HEAVY, *LEARNED]
    unknown = [name for name in wanted if name not in MODELS]
    if unknown:
        raise InvalidInput(f"There is no model {unknown[0]!r}: --models takes {', '.join(MODELS)}")
    return wanted


def compare(
    data: ShopData,
    builders: Builders,
    *,
    models: str = "",
    split: str = LEAVE_ONE_OUT,
    part: str = "test",
    target: str = "",
    cold_items: float = 0.0,
    lists: Mapping[str, Path] | None = None,
    seeds: int = 1,
    first_seed: int = 0,
    config: str = "default",
    device: str = "cpu",
    checkpoints: Path | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Fit and measure the models named; all that the data allow when none is.

    `cold_items`: this share of the items, drawn at random, is taken out of everything that is learned from or known of
    users, and only targets among them count: how well is an item recommended that nobody has had?

    `lists`: files of lists that others made, by name (`training.lists`).
    `config`: the settings of the learned models (`training.configs`); `tell` hears each of their epochs.
    `seeds`: so many repetitions, from `first_seed` on, of models that have randomness. `checkpoints`: a folder in which
    user models and lists are kept: a run that was cut off goes on, and runs of single seeds are joined by one of all.
    `target`: comma-separated event types that are predicted; when empty, purchases, or the strongest type there is.

    Raises:
        InvalidInput: a model, split or part that does not exist, or that these data cannot answer.
    """
    names = wanted_models(models)
    if data.vectors is None and not models:
        names = [name for name in names if name not in CONTENT_MODELS]
    left_out = [] if models else [name for name in names if len(data.item_ids) > HEAVY.get(name, math.inf)]
    names = [name for name in names if name not in left_out]
    chosen = make_split(data, split, part, target)
    if cold_items:
        chosen = only_cold_items(chosen, cold_items)
    catalogue = catalogue_of(data)
    learned = LearnedModels(catalogue, run_config(config), device=device, tell=tell, checkpoints=checkpoints)
    factories = [recommender(name, data, builders, learned) for name in names]
    groups = category_groups(data.items)
    results = evaluate_all(
        factories,
        chosen,
        seeds=seeds,
        first_seed=first_seed,
        vectors=data.vectors,
        groups=groups,
        store=None if checkpoints is None else ListStore(checkpoints, chosen, learned.digest),
        progress=progress,
    )
    foreign = [_foreign(name, path) for name, path in (lists or {}).items()]
    results += evaluate_all(foreign, chosen, vectors=data.vectors, groups=groups, progress=progress)
    return Comparison(
        results,
        document(chosen, results, data.source) | {"left_out": left_out},
        markdown(chosen, results, data.source) + _left_out(left_out),
        html(chosen, results, data.source),
    )


def _left_out(names: list[str]) -> str:
    return f"\nLeft out, too many items for them (name them to measure them): {', '.join(names)}.\n" if names else ""


def _foreign(name: str, path: Path) -> Callable[[int], Recommender]:
    return lambda seed: ForeignLists(name, path)


def category_groups(items: pa.Table | None, most: int = 5) -> dict[str, NDArray[np.bool_]]:
    """Masks over the items: the most frequent categories that at most half of the items have."""
    if items is None:
        return {}
    lists = items["categories"].combine_chunks()
    owner, name = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    counts = sorted(pc.value_counts(name).to_pylist(), key=lambda row: (-row["counts"], row["values"]))
    chosen = [row["values"] for row in counts if row["counts"] <= len(items) / 2][:most]
    groups = {}
    for category in chosen:
        mask = np.zeros(len(items), bool)
        mask[owner[pc.equal(name, category).to_numpy(zero_copy_only=False)]] = True
        groups[f"category {category}"] = mask
    return groups


def make_split(data: ShopData, name: str, part: str, target: str = "") -> Split:
    """A part of a split of the data. Settings are chosen on `validation`; `test` learns from all but its targets."""
    if name not in SPLITS:
        raise InvalidInput(f"--split {name}: it is one of {', '.join(SPLITS)}")
    if part not in PARTS:
        raise InvalidInput(f"--part {part}: it is one of {', '.join(PARTS)}")
    kinds = [kind.strip() for kind in target.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in set(EventType)]
    if unknown:
        raise InvalidInput(f"--target {unknown[0]}: event types are {', '.join(EventType)}")
    log = make_event_log(data.events, data.item_ids, kinds or None)
    pair = leave_one_out(log) if name == LEAVE_ONE_OUT else by_time(log)
    return {"test": pair.test, "unrefitted": pair.test_unrefitted, "validation": pair.validation}[part]


def catalogue_of(data: ShopData) -> Catalogue:
    """What the learned models know of the items."""
    return Catalogue.bare(data.item_ids, data.vectors) if data.items is None else Catalogue.of(data.items, data.vectors)


def recommender(name: str, data: ShopData, builders: Builders, learned: LearnedModels) -> Callable[[int], Recommender]:
    """A factory (of a seed) for one of `MODELS`."""
    if name in CONTENT_MODELS and data.vectors is None:
        raise InvalidInput(f"{name} needs item texts: name a catalogue with --items, or leave it out of --models")
    vectors = data.vectors

    def inputs(split: Split) -> PipelineInputs:
        return PipelineInputs(*builders.serving(split.fit_events(), split.history_events()))

    return {
        "popularity": lambda seed: baselines.Popularity(),
        "item-knn": lambda seed: baselines.ItemNeighbours(),
        "co-engagement": lambda seed: baselines.CoEngagementRecommender(builders.pairs),
        "last-item-content": lambda seed: baselines.last_item_content(vectors),
        "weighted-profile": lambda seed: baselines.weighted_profile(vectors),
        "ease": lambda seed: baselines.Ease(),
        "als": lambda seed: baselines.Factors("als", seed),
        "bpr": lambda seed: baselines.Factors("bpr", seed),
        "linear-blend": lambda seed: PipelineRecommender(inputs, name="linear-blend"),
        "user-model": lambda seed: UserModelRecommender(learned, seed),
        "user-model-unrefitted": lambda seed: UserModelRecommender(learned, seed, refitted=False),
        "pipeline": lambda seed: LearnedPipeline(inputs, learned, seed),
        "pipeline-unrefitted": lambda seed: LearnedPipeline(inputs, learned, seed, refitted=False),
    }[name]
