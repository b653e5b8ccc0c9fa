"""Fits recommenders on a split and measures them against its targets, with intervals and slices."""

import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.bootstrap import Interval, bootstrap_means
from training.list_store import ListStore, MadeLists
from training.recommender import Recommender
from training.splits import Split

CUTOFFS = (1, 5, 10, 20, 50, 100, 500)
LIST_LENGTH = 10
"""The list that coverage, novelty, diversity and popularity are measured on."""


@dataclass(frozen=True)
class ModelResult:
    """What one model reached. `per_user` holds each metric's value by evaluated user, averaged over the seeds;
    `slices` the same metrics for groups of users. `peak_memory_mb`: of the process, up to the end of this model.
    """

    name: str
    seeds: int
    metrics: dict[str, Interval]
    per_user: dict[str, NDArray[np.float64]] = field(repr=False)
    slices: dict[str, dict[str, Interval]]
    fit_seconds: float
    seconds: float
    peak_memory_mb: float


def evaluate(
    factory: Callable[[int], Recommender],
    split: Split,
    *,
    seeds: int = 1,
    first_seed: int = 0,
    cutoffs: Sequence[int] = CUTOFFS,
    vectors: NDArray[np.float32] | None = None,
    groups: Mapping[str, NDArray[np.bool_]] | None = None,
    store: ListStore | None = None,
) -> ModelResult:
    """Fit and measure the recommender that `factory(seed)` makes, for so many seeds from `first_seed` on.

    Every item of the catalogue is ranked but those the user has. `vectors` (items, D), unit rows, add diversity;
    `groups` (masks over items) add slices by target. Lists that `store` holds are not made again; others go there.
    """
    made = [_lists(factory(seed), split, seed, max(*cutoffs, LIST_LENGTH), store) for seed in _seeds(first_seed, seeds)]
    runs = [measure(each.ranked, split, cutoffs, vectors) for each in made]
    per_user = {key: np.mean([values[key] for values, _ in runs], axis=0) for key in runs[0][0]}
    whole = {key: float(np.mean([totals[key] for _, totals in runs])) for key in runs[0][1]}
    intervals = bootstrap_means(per_user) | {key: Interval(value, value, value) for key, value in whole.items()}
    return ModelResult(
        name=factory(first_seed).name,
        seeds=seeds,
        metrics=intervals,
        per_user=per_user,
        slices={label: _slice(per_user, members) for label, members in user_slices(split, groups).items()},
        fit_seconds=float(np.mean([each.fit_seconds for each in made])),
        seconds=sum(each.seconds for each in made),
        peak_memory_mb=max(each.peak_memory_mb for each in made),
    )


def _seeds(first: int, count: int) -> range:
    return range(first, first + count)


def _lists(recommender: Recommender, split: Split, seed: int, k: int, store: ListStore | None) -> MadeLists:
    if store is not None and (kept := store.load(recommender.name, seed)) is not None:
        return kept
    started = time.perf_counter()
    recommender.fit(split)
    fitting = time.perf_counter() - started
    ranked = recommender.recommend(split.users, k)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    made = MadeLists(ranked, fitting, time.perf_counter() - started, memory)
    if store is not None:
        store.keep(recommender.name, seed, made)
    return made


def measure(
    ranked: NDArray[np.int32], split: Split, cutoffs: Sequence[int], vectors: NDArray[np.float32] | None = None
) -> tuple[dict[str, NDArray[np.float64]], dict[str, float]]:
    """(metrics by user, metrics of the whole): `ranked` (users, k) holds the lists of `split.users`."""
    indptr, items = split.target_items
    hits = metrics.hit_matrix(ranked, indptr, items, split.log.item_count)
    values = metrics.per_user(hits, np.diff(indptr), cutoffs)
    head, counts = ranked[:, :LIST_LENGTH], split.item_counts()
    values[f"novelty@{LIST_LENGTH}"] = metrics.novelty(head, counts, split.log.user_count)
    values[f"popularity@{LIST_LENGTH}"] = metrics.popularity_percentile(head, counts)
    if vectors is not None:
        values[f"diversity@{LIST_LENGTH}"] = metrics.intra_list_diversity(head, vectors)
    return values, {f"coverage@{LIST_LENGTH}": metrics.coverage(head, split.log.item_count)}


def user_slices(
    split: Split, item_groups: Mapping[str, NDArray[np.bool_]] | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Masks over `split.users` by how many items they have (thirds of the users) and by how known the target is.

    `rare target`: the (first) target has at most the median of the items' users in the fit part; `cold target`: none.
    `item_groups`: masks over the items, each a further slice of the users whose (first) target is in it.
    """
    length = np.diff(split.seen.indptr)[split.users]
    low, high = np.quantile(length, [1 / 3, 2 / 3])
    indptr, items = split.target_items
    counts = split.item_counts()
    known = counts[items[indptr[:-1]]]
    groups = {
        f"history ≤ {low:.0f}": length <= low,
        f"history {low + 1:.0f}–{high:.0f}": (length > low) & (length <= high),
        f"history > {high:.0f}": length > high,
        "cold target": known == 0,
        "rare target": (known > 0) & (known <= np.median(counts[items])),
        "frequent target": known > np.median(counts[items]),
    }
    first = items[indptr[:-1]]
    groups |= {label: mask[first] for label, mask in (item_groups or {}).items()}
    return {label: members for label, members in groups.items() if members.any()}


def _slice(per_user: Mapping[str, NDArray[np.float64]], members: NDArray[np.bool_]) -> dict[str, Interval]:
    chosen = {key: values[members] for key, values in per_user.items() if key in ("recall@10", "ndcg@10")}
    return bootstrap_means(chosen, resamples=200) if chosen else {}


def evaluate_all(
    factories: Iterable[Callable[[int], Recommender]],
    split: Split,
    *,
    seeds: int = 1,
    first_seed: int = 0,
    vectors: NDArray[np.float32] | None = None,
    groups: Mapping[str, NDArray[np.bool_]] | None = None,
    store: ListStore | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[ModelResult]:
    """One result a factory, in their order. `progress` hears the name of each finished model.

    A model without randomness (`deterministic` is true on it, as on every baseline) runs once, whatever `seeds` says.
    """
    results = []
    for factory in factories:
        fixed = getattr(factory(0), "deterministic", False)
        first, count = (0, 1) if fixed else (first_seed, seeds)
        results.append(
            evaluate(factory, split, seeds=count, first_seed=first, vectors=vectors, groups=groups, store=store)
        )
        progress(results[-1].name)
    return results
