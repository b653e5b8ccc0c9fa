"""Which nearest-neighbour index the item snapshot uses: exact, HNSW (faiss, usearch) or a quantised scan.

Seven queries of 100 neighbours each, as a request asks (long-term, short-term, five interests), one thread, over 12,101
and 100,000 vectors × 384. Queries are means of four items, as profiles are. The items are `--vectors FILE.npy`
(float32, L2-normalised), else clustered synthetic ones; more items than the file has are mixtures of its items.
Run: `portrait bench nearest_neighbours`, or `python -m benchmarks.nearest_neighbours --vectors FILE.npy`.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from usearch.index import Index

from services.features.item_vectors import ItemVectors
from services.features.nearest import open_index
from services.features.nearest_build import build_index

SIZES = (12_101, 100_000)
DIMENSION, QUERIES, NEIGHBOURS, REPEATS = 384, 7, 100, 200
SEED = 20261101
RECALL_FLOOR = 0.9

FloatArray = NDArray[np.float32]
Search = Callable[[FloatArray], NDArray[np.integer]]


def run(vectors: Path | None = None) -> dict[str, Any]:
    """Milliseconds of processor time of seven queries at 12,101 items, against exact search in the same run."""
    named = os.environ.get("PORTRAIT_BENCH_VECTORS")
    source = vectors or (Path(named) if named else None)
    figures: dict[str, Any] = {"vectors": "given" if source else "synthetic"}
    with threadpool_limits(limits=1):
        for size in SIZES:
            for name, values in measure(items(size, source)).items():
                figures |= {f"{size} {name} {what}": value for what, value in values.items()}
    small = SIZES[0]
    figure = round(figures[f"{small} snapshot cpu_ms"] / figures[f"{small} exact cpu_ms"], 3)
    return {
        "name": "nearest_neighbours",
        "figure": figure,
        "bar": 0.5,
        "holds": figure <= 0.5 and figures[f"{small} snapshot recall"] >= RECALL_FLOOR,
        "figures": figures,
    }


def items(count: int, source: Path | None) -> FloatArray:
    """`count` L2-normalised vectors float32 (count, D)."""
    generator = np.random.default_rng(SEED)
    if source is None:
        centres = generator.normal(size=(count // 40, DIMENSION))
        spread = generator.normal(size=(count, DIMENSION)) * generator.gamma(2, 0.35, size=(count, 1))
        return normalised(centres[generator.integers(0, len(centres), count)] + spread)
    known = np.load(source)
    if count <= len(known):
        return normalised(known[:count])
    first, second = (known[generator.integers(0, len(known), count)] for _ in range(2))
    return normalised(0.75 * first + 0.25 * second + 0.02 * generator.normal(size=first.shape))


def normalised(vectors: NDArray[np.floating]) -> FloatArray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def measure(vectors: FloatArray) -> dict[str, dict[str, float]]:
    """By index: processor and wall milliseconds (medians), recall@100 against exact search, seconds to build."""
    generator = np.random.default_rng(SEED + 1)
    drawn = vectors[generator.integers(0, len(vectors), (REPEATS, QUERIES, 4))]
    requests = normalised(drawn.mean(axis=2))
    exact = exact_search(vectors)
    truth = [exact(queries) for queries in requests]
    return {
        name: timed(build, requests, truth)
        for name, build in {
            "exact": lambda: exact,
            "snapshot": lambda: snapshot_search(vectors),
            "faiss_hnsw": lambda: hnsw_search(vectors),
            "usearch_i8": lambda: usearch_search(vectors),
        }.items()
    }


def timed(build: Callable[[], Search], requests: FloatArray, truth: list[NDArray[np.integer]]) -> dict[str, float]:
    started = perf_counter()
    search = build()
    built = perf_counter() - started
    for queries in requests[:5]:
        search(queries)
    wall, processor, hits = [], [], 0
    for queries, expected in zip(requests, truth, strict=True):
        start, start_cpu = perf_counter(), thread_time()
        found = search(queries)
        processor.append(thread_time() - start_cpu)
        wall.append(perf_counter() - start)
        hits += sum(np.intersect1d(f, e).size for f, e in zip(found, expected, strict=True))
    return {
        "cpu_ms": round(float(np.median(processor)) * 1e3, 3),
        "wall_ms": round(float(np.median(wall)) * 1e3, 3),
        "recall": round(hits / (len(truth) * QUERIES * NEIGHBOURS), 4),
        "build_s": round(built, 2),
    }


def exact_search(vectors: FloatArray) -> Search:
    index = faiss.IndexFlatIP(DIMENSION)
    index.add(vectors)
    faiss.omp_set_num_threads(1)
    return lambda queries: index.search(queries, NEIGHBOURS)[1]


def snapshot_search(vectors: FloatArray) -> Search:
    rows = np.arange(len(vectors), dtype=np.int32)
    kept = ItemVectors.of(vectors)
    with tempfile.TemporaryDirectory() as folder:
        index = open_index(Path(folder), build_index(vectors, kept, rows, Path(folder)), kept, rows)
    return lambda queries: index.search(queries, NEIGHBOURS)[0]


def hnsw_search(vectors: FloatArray) -> Search:
    index = faiss.IndexHNSWSQ(DIMENSION, faiss.ScalarQuantizer.QT_8bit, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 80, 150
    index.train(vectors)
    index.add(vectors)
    return lambda queries: index.search(queries, NEIGHBOURS)[1]


def usearch_search(vectors: FloatArray) -> Search:
    index = Index(ndim=DIMENSION, metric="ip", dtype="i8", connectivity=16, expansion_add=80, expansion_search=200)
    index.add(np.arange(len(vectors)), vectors, threads=1)
    return lambda queries: index.search(queries, NEIGHBOURS, threads=1).keys


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=Path)
    print(json.dumps(run(parser.parse_args().vectors), indent=1))
