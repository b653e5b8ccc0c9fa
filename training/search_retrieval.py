"""Measures retrieval over a whole catalogue: how many of a query's good products stand among the first hundred."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.bootstrap import Interval, bootstrap_means
from training.plain_bm25 import PlainBM25
from training.search_judgements import Judgements
from training.search_report import interval_of, markdown_table

__all__ = ["PlainBM25", "RetrievalProtocol", "measure", "measured_queries", "retrieval_document", "retrieval_markdown"]

FloatArray = NDArray[np.float64]
CUTOFFS = (10, 100)
RECALL = "recall@100"
Retrieve = Callable[[int], NDArray[np.integer]]
"""From a query of the judgements to distinct rows of their `items`, best first."""


@dataclass(frozen=True)
class RetrievalProtocol:
    """`good`: from which grade a product counts. `queries`: so many, drawn with `seed` after the first `skip` of its
    order: choices are made on some queries and measured on others."""

    good: float = 2.5
    queries: int | None = None
    skip: int = 0
    seed: int = 0


@dataclass(frozen=True)
class RetrievalResult:
    """What one way to retrieve finds. `per_query`: recalls over the measured queries."""

    name: str
    metrics: dict[str, Interval]
    per_query: dict[str, FloatArray] = field(repr=False)
    seconds: float


def measured_queries(judged: Judgements, protocol: RetrievalProtocol) -> NDArray[np.int64]:
    """The queries that have a good product, as many as are wanted, in the file's order."""
    good = np.bincount(judged.owner, judged.grade >= protocol.good, minlength=len(judged.queries)) > 0
    order = np.random.default_rng(protocol.seed).permutation(np.flatnonzero(good))[protocol.skip :]
    return np.sort(order[: protocol.queries])


def measure(name: str, retrieve: Retrieve, judged: Judgements, protocol: RetrievalProtocol) -> RetrievalResult:
    """Recall at each of `CUTOFFS`: the share of a query's good products among the first so many."""
    began, chosen = time.perf_counter(), measured_queries(judged, protocol)
    values = np.zeros((len(chosen), len(CUTOFFS)))
    for row, query in enumerate(chosen.tolist()):
        part = slice(judged.starts[query], judged.starts[query + 1])
        wanted = judged.item[part][judged.grade[part] >= protocol.good]
        found = retrieve(query)
        values[row] = [np.isin(wanted, found[:cutoff]).mean() for cutoff in CUTOFFS]
    per_query = {f"recall@{cutoff}": values[:, place] for place, cutoff in enumerate(CUTOFFS)}
    return RetrievalResult(name, bootstrap_means(per_query), per_query, time.perf_counter() - began)


def gains(results: Sequence[RetrievalResult]) -> list[tuple[str, str, Interval]]:
    """By how much the last result's recall@100 lies above each other's, query by query."""
    last = results[-1]
    return [
        (last.name, other.name, bootstrap_means({RECALL: last.per_query[RECALL] - other.per_query[RECALL]})[RECALL])
        for other in results[:-1]
    ]


def retrieval_document(
    judged: Judgements, protocol: RetrievalProtocol, results: Sequence[RetrievalResult]
) -> dict[str, Any]:
    """The JSON answer of `portrait evaluate search --retrieval`."""
    data: Mapping[str, Any] = {
        "source": judged.source,
        "queries": len(judged.queries),
        "items": len(judged.items),
        "judgements": len(judged.grade),
        "evaluated_queries": len(measured_queries(judged, protocol)),
        "good": protocol.good,
    }
    models = [
        {
            "name": result.name,
            "seeds": 1,
            "metrics": {name: interval_of(value) for name, value in result.metrics.items()},
            "seconds": round(result.seconds, 3),
        }
        for result in results
    ]
    differences = [{"model": a, "than": b, RECALL: interval_of(value)} for a, b, value in gains(results)]
    split = (
        f"queries {protocol.skip} to {protocol.skip + len(measured_queries(judged, protocol))}, seed {protocol.seed}"
    )
    return {"data": data, "split": split, "models": models, "differences": differences}


def retrieval_markdown(judged: Judgements, protocol: RetrievalProtocol, results: Sequence[RetrievalResult]) -> str:
    """The figures as tables."""

    def cell(value: Interval) -> str:
        return f"{value.mean:.4f} ({value.low:.4f}–{value.high:.4f})"

    names = list(results[0].metrics)
    rows = [[result.name, *(cell(result.metrics[name]) for name in names)] for result in results]
    over = [[f"{a} over {b}", cell(value)] for a, b, value in gains(results)]
    head = (
        f"{judged.source}: {len(measured_queries(judged, protocol)):,} queries over {len(judged.items):,} products, "
        f"of which those graded {protocol.good:g} or better count"
    )
    return "\n\n".join([head, markdown_table(["", *names], rows), markdown_table(["", RECALL], over)]) + "\n"
