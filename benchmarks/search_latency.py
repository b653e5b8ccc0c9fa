"""Library search over 54,667 Home Depot products: processor and wall time of a query, and what retrieval finds.

One thread, query vectors known (as with a warm cache). The yardstick, measured in the same run, is the exhaustive way
to candidates: exact BM25 (Lucene's form, k₁ 1.5, b 0.75) over plain lower-case words of the titles as a sparse matrix
product, the way bm25s computes it, and the cosine with every vector.
Recall@100 counts products graded ≥ 2.5 among the first hundred of the whole list; BM25 and meaning alone beside it.

The figure is the median processor time of `SearchPipeline.search` (a page of 20 with highlights) over the yardstick's.
Needs ../shared/data/home-depot-search (or PORTRAIT_HOME_DEPOT). Vectors are computed once (some minutes) and kept in
PORTRAIT_BENCH_CACHE, else in the system's temporary folder. Run: `portrait bench search_latency`.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks._home_depot import catalogue, judgements
from feature_repo.names import ENGAGEMENT_FEATURES
from services.features import snapshot_build
from services.features.snapshot import ItemSnapshot
from services.features.snapshot_tables import SnapshotTables
from services.search.index import build
from services.search.index.search_index import SearchIndex
from services.search.pipeline import SearchPipeline
from services.search.request import FacetName, SearchRequest
from services.search.suggest.build import build_suggestions
from services.search.suggest.build import publish as publish_suggestions
from services.search.suggest.suggester import Suggester
from training.plain_bm25 import PlainBM25

NOW = datetime(2026, 11, 26, tzinfo=UTC)
GOOD = 2.5
TIMED, RECALLED, SUGGESTED = 1_000, 2_000, 300
BAR = 0.6
"""Of the yardstick's median, with reading, ranking and highlights in it."""
SEED = 20261126

FloatArray = NDArray[np.float32]


def run() -> dict[str, Any]:
    """Times and recalls; the figure is a ratio of medians."""
    with threadpool_limits(limits=1), tempfile.TemporaryDirectory() as scratch:
        judged = judgements()
        products = catalogue(judged)
        queries = judged["query"].unique(maintain_order=True).to_list()
        vectors, query_vectors = cached_vectors(products["title"].to_list(), queries)
        pipeline = open_pipeline(Path(scratch), products, vectors)
        good = judged.filter(pl.col("grade") >= GOOD).group_by("query", maintain_order=True).agg("item_id")
        place = {query: at for at, query in enumerate(queries)}
        drawn = np.random.default_rng(SEED).permutation(good.height)
        asked = [good.row(at) for at in drawn[:RECALLED].tolist()]
        plain = PlainBM25(products["title"].to_list())
        figures = times(pipeline, plain, vectors, [(query, query_vectors[place[query]]) for query, _ in asked[:TIMED]])
        figures |= recalls(pipeline, plain, vectors, products["item_id"].to_list(), asked, query_vectors, place)
        figures |= suggestion_times(Path(scratch), products, queries)
    figure = round(figures["search cpu p50 ms"] / figures["exhaustive cpu p50 ms"], 3)
    return {
        "name": "search_latency",
        "figure": figure,
        "bar": BAR,
        "holds": figure <= BAR and figures["recall@100 gain over the better one"] >= 0.05,
        "figures": figures,
    }


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


def recalls(
    pipeline: SearchPipeline,
    plain: PlainBM25,
    vectors: FloatArray,
    item_ids: list[str],
    asked: Sequence[tuple[str, list[str]]],
    query_vectors: FloatArray,
    place: dict[str, int],
) -> dict[str, float]:
    """Mean share of the good products among the first hundred."""
    row = {item: at for at, item in enumerate(item_ids)}
    found: dict[str, list[float]] = {"whole": [], "words": [], "bm25": [], "meaning": []}
    for query, good in asked:
        vector = query_vectors[place[query]]
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


def cached_vectors(titles: list[str], queries: list[str]) -> tuple[FloatArray, FloatArray]:
    """The text encoder's vectors of titles and queries, float32; kept in a folder between runs."""
    folder = Path(os.environ.get("PORTRAIT_BENCH_CACHE") or tempfile.gettempdir()) / "portrait-home-depot"
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "titles.npy", folder / "queries.npy"
    if not all(file.is_file() for file in files):
        import torch  # noqa: PLC0415 - seconds of import, needed without kept vectors alone

        from services.encoders.text import load_text_encoder  # noqa: PLC0415 - as above

        encoder = load_text_encoder()
        with torch.autocast("cpu", torch.bfloat16):
            np.save(files[0], encoder.encode(titles))
            np.save(files[1], encoder.encode(queries, purpose="query"))
    return np.load(files[0]), np.load(files[1])


def open_pipeline(scratch: Path, products: pl.DataFrame, vectors: FloatArray) -> SearchPipeline:
    """A shop of the products: no prices, brands or engagement, which the data does not have."""
    ids = products["item_id"].to_list()
    empty = pa.nulls(len(ids), pa.float32())
    items = products.to_arrow().cast(pa.schema([("item_id", pa.string()), ("title", pa.string())]))
    columns = {
        "brand": pa.nulls(len(ids), pa.string()),
        "categories": pa.array([[]] * len(ids), pa.list_(pa.string())),
        "price": pa.nulls(len(ids), pa.float64()),
        "currency": pa.nulls(len(ids), pa.string()),
        "attributes": pa.array(["{}"] * len(ids)),
        "available": pa.array([True] * len(ids)),
        "published_at": pa.nulls(len(ids), pa.timestamp("us", tz="UTC")),
    }
    for name, column in columns.items():
        items = items.append_column(name, column)
    tables = SnapshotTables(
        items=items,
        engagement=pa.table({"item_id": ids} | dict.fromkeys(ENGAGEMENT_FEATURES, empty)),
        vectors=pa.table(
            {
                "item_id": ids,
                "space": ["text"] * len(ids),
                "vector": pa.array([row.tobytes() for row in vectors.astype("<f4")], pa.binary()),
            }
        ),
        co_engagement=pa.table(
            {
                "item_id": pa.array([], pa.string()),
                "neighbour_id": pa.array([], pa.string()),
                "score": pa.array([], pa.float32()),
            }
        ),
    )
    snapshots, search = scratch / "snapshots", scratch / "search"
    snapshot = snapshot_build.publish(snapshots, snapshot_build.build_snapshot(tables, snapshots, now=NOW))
    index = build.publish(search, build.build_index(items, search, now=NOW))
    return SearchPipeline(ItemSnapshot.open(snapshot), SearchIndex.open(index))


if __name__ == "__main__":
    print(json.dumps(run(), indent=1))
