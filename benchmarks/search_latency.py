"""Library search over 54,667 Home Depot products: processor and wall time of a query, and what retrieval finds.

One thread, query vectors known (as with a warm cache). The yardstick, measured in the same run, is the exhaustive way
to candidates: exact BM25 (Lucene's form, k₁ 1.5, b 0.75) over plain lower-case words of the titles as a sparse matrix
product, the way bm25s computes it, and the cosine with every vector.
Recall@100 counts products graded ≥ 2.5 among the first hundred of the whole list; BM25 and meaning alone beside it.

The figure is the median processor time of `SearchPipeline.search` (a page of 20 with highlights) over the yardstick's,
each query being asked for the first time.
Needs Home Depot's judgements (`benchmarks._home_depot`). Run: `portrait bench search_latency`.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks._home_depot import home_depot
from services.cli.offline_data import text_vectors
from services.cli.search_data import catalogue_of, open_search, query_vectors
from services.core.settings import get_settings
from services.search.config import SearchConfig
from services.search.pipeline import SearchPipeline
from services.search.request import FacetName, SearchRequest
from services.search.suggest.build import build_suggestions
from services.search.suggest.build import publish as publish_suggestions
from services.search.suggest.suggester import Suggester
from training.plain_bm25 import PlainBM25
from training.search_judgements import Judgements

NOW = datetime(2026, 11, 26, tzinfo=UTC)
GOOD = 2.5
TIMED, RECALLED, SUGGESTED = 1_000, 2_000, 300
BAR = 0.6
"""Of the yardstick's median, with reading, ranking and highlights in it."""
SEED = 20261126

FloatArray = NDArray[np.float32]


def run() -> dict[str, Any]:
    """Times and recalls; the figure is a ratio of medians."""
    judged, settings = home_depot(), get_settings()
    products = catalogue_of(judged.items)
    vectors, space = text_vectors(products, settings)
    meanings = query_vectors(judged.queries, settings)
    with threadpool_limits(limits=1), tempfile.TemporaryDirectory() as scratch:
        opened = open_search(products, vectors, space, Path(scratch))
        pipeline = SearchPipeline(opened.snapshot, opened.index, config=SearchConfig(kept_query_bytes=0))
        good = good_products(judged)
        drawn = np.random.default_rng(SEED).permutation(list(good))[:RECALLED].tolist()
        asked = [(judged.queries[at], meanings[at], good[at]) for at in drawn]
        plain = PlainBM25(products["title"].to_list())
        timed = [(query, vector) for query, vector, _ in asked[:TIMED]]
        figures = times(pipeline, plain, vectors, timed) | again(opened, timed)
        figures |= recalls(pipeline, plain, vectors, products["item_id"].to_list(), asked)
        figures |= suggestion_times(Path(scratch), products, judged.queries)
    figure = round(figures["search cpu p50 ms"] / figures["exhaustive cpu p50 ms"], 3)
    return {
        "name": "search_latency",
        "figure": figure,
        "bar": BAR,
        "holds": figure <= BAR and figures["recall@100 gain over the better one"] >= 0.05,
        "figures": figures,
    }


def good_products(judged: Judgements) -> dict[int, list[str]]:
    """The ids of the good products of each query that has any."""
    ids = judged.items["item_id"].to_list()
    found = {}
    for query, (first, last) in enumerate(pairwise(judged.starts.tolist())):
        rows = first + np.flatnonzero(judged.grade[first:last] >= GOOD)
        if len(rows):
            found[query] = [ids[item] for item in judged.item[rows].tolist()]
    return found


def times(
    pipeline: SearchPipeline, plain: PlainBM25, vectors: FloatArray, asked: Sequence[tuple[str, FloatArray]]
) -> dict[str, float]:
    """Milliseconds by wall clock and of processor time, one kind after the other."""
    pipeline.warm()
    kinds: dict[str, Callable[[str, FloatArray], Any]] = {
        "search": lambda query, vector: pipeline.search(None, SearchRequest(query), vector, NOW.timestamp()),
        "search with facets": lambda query, vector: pipeline.search(
            None, SearchRequest(query, facets=tuple(FacetName)), vector, NOW.timestamp()
        ),
        "lexical search": lambda query, vector: pipeline.search(None, SearchRequest(query), None, NOW.timestamp()),
        "exhaustive": lambda query, vector: (plain.best(query, 100), nearest(vectors, vector, 100)),
    }
    taken: dict[str, list[float]] = {f"{name}{clock}": [] for name in kinds for clock in ("", " cpu")}
    for name, call in kinds.items():
        for query, vector in asked:
            started, started_cpu = perf_counter(), thread_time()
            call(query, vector)
            taken[f"{name} cpu"].append((thread_time() - started_cpu) * 1e3)
            taken[name].append((perf_counter() - started) * 1e3)
    shares = (("p50", 50), ("p99", 99))
    return {
        f"{name} {label} ms": round(float(np.percentile(values, share)), 3)
        for name, values in taken.items()
        for label, share in shares
    }


def again(pipeline: SearchPipeline, asked: Sequence[tuple[str, FloatArray]]) -> dict[str, float]:
    """Milliseconds of a search that was asked before, and whose candidates were kept."""
    taken = []
    for _ in range(2):
        taken = []
        for query, vector in asked:
            started = thread_time()
            pipeline.search(None, SearchRequest(query), vector, NOW.timestamp())
            taken.append((thread_time() - started) * 1e3)
    return {f"search again cpu p{share} ms": round(float(np.percentile(taken, share)), 3) for share in (50, 99)}


def recalls(
    pipeline: SearchPipeline,
    plain: PlainBM25,
    vectors: FloatArray,
    item_ids: list[str],
    asked: Sequence[tuple[str, FloatArray, list[str]]],
) -> dict[str, float]:
    """Mean share of the good products among the first hundred."""
    row = {item: at for at, item in enumerate(item_ids)}
    found: dict[str, list[float]] = {"whole": [], "words": [], "bm25": [], "meaning": []}
    for query, vector, good in asked:
        wanted = {row[item] for item in good}
        request = SearchRequest(query, count=100, highlight=False)
        lists = {
            "whole": pipeline.search(None, request, vector, NOW.timestamp()).item_ids,
            "words": pipeline.search(None, request, None, NOW.timestamp()).item_ids,
        }
        tops = {name: {row[item] for item in items} for name, items in lists.items()}
        tops["bm25"] = set(plain.best(query, 100).tolist())
        tops["meaning"] = set(nearest(vectors, vector, 100).tolist())
        for name, top in tops.items():
            found[name].append(len(top & wanted) / len(wanted))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    gain = means["whole"] - max(means["bm25"], means["meaning"])
    return {f"recall@100 {name}": round(value, 4) for name, value in means.items()} | {
        "recall@100 gain over the better one": round(gain, 4)
    }


def suggestion_times(scratch: Path, products: pl.DataFrame, queries: Sequence[str]) -> dict[str, float]:
    """Milliseconds of a suggestion for every beginning of some queries, all queries being known."""
    version = build_suggestions(products.to_arrow(), dict.fromkeys(queries, 2), scratch / "suggest", now=NOW)
    suggester = Suggester(publish_suggestions(scratch / "suggest", version))
    taken = []
    for query in queries[:SUGGESTED]:
        for end in range(1, len(query) + 1):
            started = perf_counter()
            suggester.suggest(query[:end])
            taken.append((perf_counter() - started) * 1e3)
    return {f"suggest p{share} ms": round(float(np.percentile(taken, share)), 3) for share in (50, 99)}


def nearest(vectors: FloatArray, vector: FloatArray, count: int) -> NDArray[np.intp]:
    """Rows of the greatest cosines, in no order."""
    return np.argpartition(-(vectors @ vector), count)[:count]


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
