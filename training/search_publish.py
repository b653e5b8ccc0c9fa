"""From lists with clicks or judgements to a published version of the search ranker, measured on held-out queries."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.core.errors import NotReady
from services.networks.numpy_search_ranker import BY_HAND, NumpySearchRanker
from services.registry.gate import METRIC
from services.registry.manifest import SEARCH_RANKER, DataRange, Measured, ModelManifest, feature_hash
from services.registry.registry import ModelRegistry
from services.registry.search_artefact import write_cross_encoder, write_search_ranker
from training.bootstrap import bootstrap_means, ratio_of_means
from training.commit import commit
from training.search_clicks import LEAST_PROPENSITY, ShownResults, attraction, examination
from training.search_judgements import read_judgements
from training.search_metrics import ndcg
from training.search_ranker import GradedLists, SearchRankerSettings, fit_search_ranker
from training.search_reranking import LayeredEncoder, PairTexts, Reranker, RerankerSettings, fit_reranker
from training.tracking import TrackingConfig, tracked

__all__ = [
    "GradedLists",
    "PairTexts",
    "SearchData",
    "ShownResults",
    "TrackingConfig",
    "lists_of_clicks",
    "read_judgements",
    "train_and_publish",
]

FloatArray = NDArray[np.float32]
MEASURED = 0.2
"""Of the queries, those that teach nothing but tell what the ranker is worth."""
FEWEST = 50
"""Lists below which nothing is learned, and measured ones below which nothing is told."""


@dataclass(frozen=True)
class SearchData:
    """`query` int64 (lists,): lists of one query teach together or measure together. `names`: of the features' columns;
    `by_hand` float32 (F,): weights of the untrained ranker. `known`: what it was made from. `texts`: what a
    cross-encoder would read."""

    source: str
    lists: GradedLists
    query: NDArray[np.int64]
    names: tuple[str, ...]
    by_hand: FloatArray
    known: DataRange
    texts: PairTexts | None = None


def lists_of_clicks(
    features: FloatArray, starts: NDArray[np.int64], row: NDArray[np.int64], seen: ShownResults, prior: NDArray
) -> GradedLists:
    """Lists to learn from: `row` int64 (rows,) names the impression in `seen` that a row is, −1 for what was not shown.

    A click counts the inverse of how likely its place was examined, as `examination` finds it in all of `seen` from
    `prior` on; what a row is worth, by which the epoch is chosen, is its query × item's `attraction` there.
    """
    propensity = examination(seen, len(prior), np.asarray(prior, np.float64))
    position = np.minimum(seen.position, len(prior) - 1)
    weight = 1 / np.maximum(propensity, LEAST_PROPENSITY)
    worth = attraction(ShownResults(seen.row, position, seen.clicked), int(seen.row.max(initial=-1)) + 1, propensity)
    shown = row >= 0
    target, gain = np.zeros(len(row), np.float32), np.zeros(len(row))
    target[shown] = (seen.clicked * weight[position])[row[shown]]
    gain[shown] = worth[seen.row[row[shown]]]
    return GradedLists(features, gain, starts, target)


def train_and_publish(
    data: SearchData,
    registry: ModelRegistry,
    *,
    settings: SearchRankerSettings | None = None,
    seed: int = 0,
    space: str = "",
    snapshot: str = "",
    encoders: Mapping[str, str] | None = None,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
    tracking: TrackingConfig | None = None,
    encoder: LayeredEncoder | None = None,
    reranker: RerankerSettings | None = None,
) -> ModelManifest:
    """Train on most queries, measure on the others beside the untrained ranker, publish.

    `encoder`: teach a cross-encoder as well, which goes on from it. It is part of the version where it helps, and half
    of the other queries say what it counts; on the rest, `ndcg@10` is of both, `ndcg@10-ranker` of the ranker alone.

    Raises:
        NotReady: there are too few lists to learn from or to measure on.
    """
    settings = SearchRankerSettings() if settings is None else settings
    began, steps = time.perf_counter(), count(1)
    version = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-search-{seed}"
    with tracked(tracking, version) as tracker:
        tracker.about(settings, {"seed": str(seed), "space": space, "source": data.source, "commit": commit()})
        tracker.data(data.source, data.known)

        def told(figures: dict[str, float]) -> None:
            if "epoch" in figures:  # of the ranker; a cross-encoder tells its steps, thousands
                tracker.epoch({**figures, "epoch": next(steps), "stage": SEARCH_RANKER})
            tell(figures)

        made = _made(data, settings, seed, told, encoder, reranker)
        manifest = ModelManifest(
            version=version,
            created=time.time(),
            kind=SEARCH_RANKER,
            config="default",
            seed=seed,
            space=space,
            features=data.names,
            feature_service="",
            feature_hash=feature_hash(data.names),
            snapshot=snapshot,
            data=data.known,
            metrics=_measured(made.values),
            baseline=_measured(made.baseline),
            gain=Measured(*ratio_of_means(made.values[METRIC], made.baseline[METRIC])),
            epochs=next(steps) - 1,
            seconds=round(time.perf_counter() - began, 1),
            commit=commit(),
            taught_by=data.source,
            encoders=dict(encoders or {}),
            importances=made.importances,
        )
        tracker.reached({name: value.mean for name, value in manifest.metrics.items()} | {"gain": manifest.gain.mean})
        with tempfile.TemporaryDirectory(prefix="portrait-") as folder:
            write_search_ranker(Path(folder), made.network)
            if made.cross is not None and made.cross.weight > 0:
                write_cross_encoder(Path(folder), made.cross.weights(), made.cross.about)
            registry.publish(Path(folder), manifest)
        published = registry.manifest(version)
        tracker.published(registry.folder / version, published)
    return published


@dataclass(frozen=True)
class _Made:
    """What was taught, and NDCG@10 by measured list: `values` by name, `baseline` of the untrained ranker."""

    network: NumpySearchRanker
    cross: Reranker | None
    values: dict[str, NDArray[np.float64]]
    baseline: dict[str, NDArray[np.float64]]
    importances: dict[str, float]


def _made(
    data: SearchData,
    settings: SearchRankerSettings,
    seed: int,
    told: Callable[[dict[str, float]], None],
    encoder: LayeredEncoder | None,
    reranker: RerankerSettings | None,
) -> _Made:
    taught, held = parts_of(data, seed)
    choosing, measured = _halves(held, data.query) if encoder is not None else (held[:0], held)
    lists = data.lists
    teaching, measuring = lists.take(taught), lists.take(measured)
    network = with_weights_by_hand(
        fit_search_ranker(teaching, data.names, settings, seed, told), teaching.features, data.by_hand
    )
    ranked = network.score(lists.features)
    values = {METRIC: _per_list(_of(ranked, lists, measured), measuring)}
    cross = None
    if encoder is not None:
        assert data.texts is not None  # whoever asks for a cross-encoder brings texts
        parts = (taught, choosing, measured)
        graded = _with_gains(lists)
        cross = fit_reranker(graded, data.texts, *parts, ranked, encoder, settings=reranker, seed=seed, tell=told)
        both = _of(ranked + cross.weight * np.nan_to_num(cross.scores), lists, measured)
        values = {METRIC: _per_list(both, measuring), f"{METRIC}-ranker": values[METRIC]}
    baseline = {METRIC: _per_list(measuring.features @ data.by_hand, measuring)}
    return _Made(network, cross, values, baseline, _importances(network, measuring.features))


def parts_of(data: SearchData, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lists that teach, and those that are kept apart: of other queries.

    Raises:
        NotReady: there are too few of either.
    """
    queries = np.unique(data.query)
    drawn = np.random.default_rng(seed + 11).permutation(queries)[: round(MEASURED * len(queries))]
    held = np.isin(data.query, drawn)
    useful = np.isfinite(_per_list(np.zeros(len(data.lists.gain)), data.lists))
    taught, measured = np.flatnonzero(~held & useful), np.flatnonzero(held & useful)
    told, needed = len(taught) + len(measured), round(FEWEST * (1 + MEASURED))
    if told < needed or not len(taught) or not len(measured):
        raise NotReady(
            f"Too few searches tell what is a good answer ({told}): at least {needed} are needed that led to a click, "
            "or queries with graded products"
        )
    return taught, measured


def with_weights_by_hand(network: NumpySearchRanker, features: FloatArray, by_hand: FloatArray) -> NumpySearchRanker:
    """The network with the untrained ranker's weights for the features that did not vary in what taught it (a file of
    judgements knows no users), brought to the scale of the network's scores."""
    unseen = network.weights["scale"] == 0
    untrained = float((features @ by_hand).std())
    ratio = float(network.score(features).std()) / untrained if untrained > 0 else 0.0
    return NumpySearchRanker(network.features, network.weights | {BY_HAND: by_hand * unseen * np.float32(ratio)})


def digest_of(lists: GradedLists) -> str:
    """Tells what rankers learned from apart."""
    told = lists.gain if lists.target is None else lists.target
    digest = hashlib.sha256(np.ascontiguousarray(lists.features).tobytes())
    digest.update(np.ascontiguousarray(told).tobytes())
    return digest.hexdigest()[:16]


def _per_list(scores: NDArray, lists: GradedLists) -> NDArray[np.float64]:
    """NDCG@10 by list, NaN where nothing is worth anything: clicks by the inverse of their propensity, else gains."""
    gain = lists.gain if lists.target is None else lists.target.astype(np.float64)
    return ndcg(scores, gain, lists.starts)


def _halves(lists: NDArray[np.int64], query: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lists of every other query, and those of the rest."""
    first = np.isin(query[lists], np.unique(query[lists])[::2])
    return lists[first], lists[~first]


def _of(rows: FloatArray, lists: GradedLists, chosen: NDArray[np.int64]) -> FloatArray:
    """What rows of the lists have, of some of the lists."""
    return replace(lists, features=rows[:, None]).take(chosen).features[:, 0]


def _with_gains(lists: GradedLists) -> GradedLists:
    """The lists with the gains that `_per_list` measures by."""
    return lists if lists.target is None else replace(lists, gain=lists.target.astype(np.float64))


def _measured(values: Mapping[str, NDArray[np.float64]]) -> dict[str, Measured]:
    found = bootstrap_means(values)
    return {name: Measured(*(round(v, 6) for v in (i.mean, i.low, i.high))) for name, i in found.items()}


def _importances(network: NumpySearchRanker, features: FloatArray, most: int = 2_000) -> dict[str, float]:
    """By feature the mean size of its contribution to scores, largest first."""
    sizes = np.abs(network.contributions(features[:: max(1, len(features) // most)])).mean(axis=0)
    return {network.features[place]: round(float(sizes[place]), 4) for place in np.argsort(-sizes).tolist()}
