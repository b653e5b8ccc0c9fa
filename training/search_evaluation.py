"""Measures search rankers on judged lists: each query's judged products are re-ranked."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.bootstrap import Interval, bootstrap_means
from training.search_judgements import Judgements
from training.search_metrics import ndcg, random_ndcg, reciprocal_rank
from training.search_ranker import GradedLists, SearchRankerSettings, fit_search_ranker

FloatArray = NDArray[np.float64]
NDCG, SHARE = "ndcg@10", "share@10"
"""`SHARE`: how far from a random order to the perfect one."""
FOLDS = 5
LONG_QUERY = 4


@dataclass(frozen=True)
class SearchProtocol:
    """Which queries count, and how they are split. `least_judged`: shorter lists teach but are not measured."""

    least_judged: int = 10
    folds: int = FOLDS
    seed: int = 0


@dataclass(frozen=True)
class SearchResult:
    """What one ranker reached. `per_query`: by metric, over the measured queries, averaged over the seeds."""

    name: str
    seeds: int
    metrics: dict[str, Interval]
    per_query: dict[str, FloatArray] = field(repr=False)
    slices: dict[str, dict[str, Interval]]
    seconds: float


@dataclass(frozen=True)
class JudgedLists:
    """Judgements with what the rankers see of them. `features` float32 (rows, F) named `names`; `misspelt` bool
    (queries,): whether search corrected the query; `searched`: what was searched for."""

    judgements: Judgements
    features: NDArray[np.float32]
    names: tuple[str, ...]
    misspelt: NDArray[np.bool_]
    searched: Sequence[str] = ()

    def graded(self) -> GradedLists:
        """As the ranker is trained on."""
        return GradedLists(self.features, self.judgements.gain, self.judgements.starts)


def measured_queries(judgements: Judgements, protocol: SearchProtocol) -> NDArray[np.int64]:
    """Queries with enough judged products of which one at least is worth something."""
    best = random_ndcg(judgements.gain, judgements.starts)
    return np.flatnonzero((np.diff(judgements.starts) >= protocol.least_judged) & np.isfinite(best))


def folds_of(judgements: Judgements, protocol: SearchProtocol) -> NDArray[np.int64]:
    """int64 (queries,): the fold of each query, drawn over all queries."""
    order = np.random.default_rng(protocol.seed).permutation(len(judgements.queries))
    return order % protocol.folds


def measure_scores(
    name: str, runs: list[NDArray], lists: JudgedLists, protocol: SearchProtocol, seconds: float
) -> SearchResult:
    """One entry of `runs` a seed: scores of all rows."""
    judged = lists.judgements
    chosen = measured_queries(judged, protocol)
    top = judged.grade >= judged.grade.max()
    per_query = {
        NDCG: np.mean([ndcg(scores, judged.gain, judged.starts)[chosen] for scores in runs], axis=0),
        "ndcg@5": np.mean([ndcg(scores, judged.gain, judged.starts, 5)[chosen] for scores in runs], axis=0),
        "mrr": np.mean([reciprocal_rank(scores, top, judged.starts)[chosen] for scores in runs], axis=0),
    }
    metrics = bootstrap_means(per_query) | {SHARE: _share(per_query[NDCG], judged, chosen)}
    slices = {
        label: bootstrap_means({NDCG: per_query[NDCG][members]}, resamples=200)
        for label, members in query_slices(lists, chosen).items()
    }
    return SearchResult(name, len(runs), metrics, per_query, slices, seconds)


def _share(values: FloatArray, judged: Judgements, chosen: NDArray[np.int64]) -> Interval:
    """(mean NDCG − a random order's) / (1 − a random order's), exact for the random order; bootstrap over queries."""
    random = random_ndcg(judged.gain, judged.starts)[chosen]
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(chosen), np.full(len(chosen), 1 / max(len(chosen), 1)), size=1_000) / len(chosen)
    drawn = (weights @ values - weights @ random) / np.maximum(1 - weights @ random, 1e-9)
    low, high = np.percentile(drawn, [2.5, 97.5])
    mean = (values.mean() - random.mean()) / max(1 - random.mean(), 1e-9)
    return Interval(float(mean), float(low), float(high))


def query_slices(lists: JudgedLists, chosen: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Masks over the measured queries: by length in words, with digits, misspelt."""
    texts = [lists.judgements.queries[query] for query in chosen.tolist()]
    words = np.array([len(text.split()) for text in texts])
    groups = {
        "1 word": words == 1,
        f"2–{LONG_QUERY - 1} words": (words > 1) & (words < LONG_QUERY),
        f"≥ {LONG_QUERY} words": words >= LONG_QUERY,
        "with digits": np.array([any(c.isdigit() for c in text) for text in texts], bool),
        "misspelt": lists.misspelt[chosen],
    }
    return {label: members for label, members in groups.items() if members.any()}


def evaluate_scores(
    name: str, score: Callable[[], NDArray], lists: JudgedLists, protocol: SearchProtocol
) -> SearchResult:
    """A ranker without training."""
    began = time.perf_counter()
    return measure_scores(name, [score()], lists, protocol, time.perf_counter() - began)


def evaluate_trained(
    lists: JudgedLists,
    protocol: SearchProtocol,
    *,
    settings: SearchRankerSettings | None = None,
    seeds: int = 1,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> SearchResult:
    """The learned ranker: every query is ranked by a network that saw the judgements of the other folds alone."""
    return evaluate_trained_on(("trained",), (lists,), protocol, settings=settings, seeds=seeds, tell=tell)[0]


def evaluate_trained_on(
    names: Sequence[str],
    asked: Sequence[JudgedLists],
    protocol: SearchProtocol,
    *,
    settings: SearchRankerSettings | None = None,
    seeds: int = 1,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> list[SearchResult]:
    """As `evaluate_trained`: the networks learn from the first of `asked` and rank all of them, which are the same
    judgements asked for in other words."""
    began = time.perf_counter()
    lists = asked[0]
    fold = folds_of(lists.judgements, protocol)
    owner, graded = lists.judgements.owner, lists.graded()
    runs: list[list[NDArray]] = [[] for _ in asked]
    for seed in range(seeds):
        scores = [np.zeros(len(owner), np.float32) for _ in asked]
        for part in range(protocol.folds):
            network = fit_search_ranker(graded.take(np.flatnonzero(fold != part)), lists.names, settings, seed, tell)
            rows = fold[owner] == part
            for found, words in zip(scores, asked, strict=True):
                found[rows] = network.score(words.features[rows])
        for kept, found in zip(runs, scores, strict=True):
            kept.append(found)
    seconds = time.perf_counter() - began
    return [
        measure_scores(name, kept, words, protocol, seconds)
        for name, kept, words in zip(names, runs, asked, strict=True)
    ]


def wins_and_losses(
    better: SearchResult, worse: SearchResult, queries: list[str], most: int = 10
) -> Mapping[str, list[dict[str, float | str]]]:
    """The queries that one ranker wins and loses most NDCG@10 on against another."""
    gap = better.per_query[NDCG] - worse.per_query[NDCG]
    order = np.argsort(-gap, kind="stable")

    def row(at: int) -> dict[str, float | str]:
        return {"query": queries[at], better.name: _rounded(better, at), worse.name: _rounded(worse, at)}

    return {
        "wins": [row(int(at)) for at in order[:most] if gap[at] > 0],
        "losses": [row(int(at)) for at in order[::-1][:most] if gap[at] < 0],
    }


def _rounded(result: SearchResult, at: int) -> float:
    return round(float(result.per_query[NDCG][at]), 4)
