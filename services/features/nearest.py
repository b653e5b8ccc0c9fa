"""Nearest items by cosine: an index stored in the snapshot, chosen by measurement (benchmarks/nearest_neighbours.py).

Up to `EXACT_LIMIT` vectors the search is exact. Above it: 4-bit product quantisation scanned in registers (André et
al., "Cache locality is not enough", VLDB 2015; faiss FastScan), behind an inverted file for large catalogues, and the
best `refine · k` re-scored with half-precision vectors.
"""

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

INDEX_FILE = "nearest.faiss"
EXACT_LIMIT = 1_000
SCAN_LIMIT = 40_000
"""Up to here every code is scanned; above it only the codes of the nearest lists."""
TRAINING_POINTS = 65_536
SEED = 20_240_607


EXACT: dict[str, Any] = {"kind": "exact"}


class NearestIndex(Protocol):
    """Searches row numbers by cosine."""

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        """`queries` (q, D), L2-normalised → rows int32 (q, k), cosines (q, k), best first; −1 and 0 where none left."""
        ...


class ExactIndex:
    """Inner products with all of `rows`' vectors."""

    def __init__(self, vectors: FloatArray, rows: NDArray[np.int32]) -> None:
        self._vectors, self._rows = vectors, rows

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        scores = queries @ self._vectors[self._rows].T
        return best_of(scores, self._rows, k)


class QuantisedIndex:
    """A faiss index over the vectors of `rows`."""

    def __init__(self, index: Any, rows: NDArray[np.int32]) -> None:
        self._index, self._rows = index, rows

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        queries = np.ascontiguousarray(queries, np.float32)
        cosine, found = self._index.search(queries, min(k, self._rows.size))
        missing = found < 0
        rows = self._rows[found]
        if missing.any():
            rows, cosine = np.where(missing, np.int32(-1), rows), np.where(missing, np.float32(0), cosine)
        return padded(rows, cosine, k)


def best_of(scores: FloatArray, rows: NDArray[np.int32], k: int) -> tuple[NDArray[np.int32], FloatArray]:
    """The k best of `scores` (q, n), whose columns are `rows` (n,); ties by row."""
    kept = min(k, rows.size)
    if kept < rows.size:
        chosen = np.argpartition(scores, -kept, axis=1)[:, -kept:] if kept else np.empty((len(scores), 0), np.int64)
    else:
        chosen = np.broadcast_to(np.arange(rows.size), scores.shape)
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.lexsort((rows[chosen], -values), axis=1)
    chosen, values = np.take_along_axis(chosen, order, axis=1), np.take_along_axis(values, order, axis=1)
    return padded(rows[chosen], values, k)


def padded(rows: NDArray[np.int32], cosine: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Both widened to k columns with −1 and 0."""
    lacking = k - rows.shape[1]
    if lacking <= 0:
        return rows.astype(np.int32, copy=False), cosine.astype(np.float32, copy=False)
    shape = ((0, 0), (0, lacking))
    return np.pad(rows, shape, constant_values=-1).astype(np.int32), np.pad(cosine, shape).astype(np.float32)


def build_index(vectors: FloatArray, rows: NDArray[np.int32], folder: Path) -> dict[str, Any]:
    """Write the index over `vectors[rows]` into `folder`. Returns what `open_index` needs; deterministic."""
    if rows.size <= EXACT_LIMIT or vectors.shape[1] % 2:
        return EXACT
    import faiss  # noqa: PLC0415 - snapshots open where only NumPy is (`ItemSnapshot.open(exact=True)`)

    faiss.omp_set_num_threads(1)  # deterministic sums; and on a busy machine waiting threads cost more than they give
    points = np.ascontiguousarray(vectors[rows])
    dimension = points.shape[1]
    settings: dict[str, Any] = {"kind": "scan", "refine": 2.0}
    if rows.size <= SCAN_LIMIT:
        coarse = faiss.IndexPQFastScan(dimension, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
        coarse.pq.cp.seed = SEED
    else:
        lists = 1 << round(math.log2(4 * math.sqrt(rows.size)))
        flat = faiss.IndexFlatIP(dimension)
        coarse = faiss.IndexIVFPQFastScan(flat, dimension, lists, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
        coarse.by_residual = False
        coarse.cp.seed = coarse.pq.cp.seed = SEED
        settings = {"kind": "lists", "refine": 3.0, "probe": max(lists // 12, 1)}
    store = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    coarse.train(_sample(points))
    store.train(points[:1])
    index = faiss.IndexRefine(coarse, store)
    index.is_trained = True
    index.add(points)
    faiss.write_index(index, str(folder / INDEX_FILE))
    return settings


def open_index(folder: Path, settings: dict[str, Any], vectors: FloatArray, rows: NDArray[np.int32]) -> NearestIndex:
    """The index of a snapshot folder, one thread a search."""
    if settings["kind"] == "exact":
        return ExactIndex(vectors, rows)
    import faiss  # noqa: PLC0415 - snapshots open where only NumPy is (`ItemSnapshot.open(exact=True)`)

    index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    faiss.omp_set_num_threads(1)
    index.k_factor = settings["refine"]
    if settings["kind"] == "lists":
        faiss.downcast_index(index.base_index).nprobe = settings["probe"]
    return QuantisedIndex(index, rows)


def _sample(points: FloatArray) -> FloatArray:
    """At most `TRAINING_POINTS` of the points, the same ones every time."""
    if len(points) <= TRAINING_POINTS:
        return points
    chosen = np.random.default_rng(SEED).choice(len(points), TRAINING_POINTS, replace=False)
    chosen.sort()
    return points[chosen]
