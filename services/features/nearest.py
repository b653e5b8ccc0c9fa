"""Nearest items by cosine: an index stored in the snapshot, chosen by measurement (benchmarks/nearest_neighbours.py).

Small catalogues are searched exactly. Larger ones by 4-bit product quantisation scanned in registers (André et al.,
"Cache locality is not enough", VLDB 2015; faiss FastScan), behind an inverted file for the largest, and the best
`refine · k` are scored again with the item vectors that everything else reads too. `nearest_build` writes the index.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from services.features.inverted_lists import map_lists
from services.features.item_vectors import ItemVectors

FloatArray = NDArray[np.float32]

INDEX_FILE = "nearest.faiss"
EXACT: dict[str, Any] = {"kind": "exact"}


class NearestIndex(Protocol):
    """Searches row numbers by cosine."""

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        """`queries` (q, D), L2-normalised → rows int32 (q, k), cosines (q, k), best first; −1 and 0 where none left."""
        ...


class ExactIndex:
    """Inner products with all of `rows`' vectors."""

    def __init__(self, vectors: ItemVectors, rows: NDArray[np.int32]) -> None:
        self._vectors, self._rows = vectors, rows

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        return best_of(self._vectors.dot(self._rows, queries).T, self._rows, k)


class QuantisedIndex:
    """A coarse faiss index whose best `refine · k` are scored with `vectors`.

    `rows`: the row of each of the index's numbers; None where these are rows.
    """

    def __init__(self, index: Any, refine: float, vectors: ItemVectors, rows: NDArray[np.int32] | None) -> None:
        self._index, self._refine, self._vectors, self._rows = index, refine, vectors, rows

    def search(self, queries: FloatArray, k: int) -> tuple[NDArray[np.int32], FloatArray]:
        queries = np.ascontiguousarray(queries, np.float32)
        with one_thread():
            _, found = self._index.search(queries, min(math.ceil(self._refine * k), self._index.ntotal))
        best = [
            self._scored(query, positions[positions >= 0], k) for query, positions in zip(queries, found, strict=True)
        ]
        rows, cosines = zip(*best, strict=True)
        return np.concatenate(rows), np.concatenate(cosines)

    def _scored(self, query: FloatArray, positions: NDArray[np.int64], k: int) -> tuple[NDArray[np.int32], FloatArray]:
        rows = positions.astype(np.int32) if self._rows is None else self._rows[positions]
        return best_of(self._vectors.dot(rows, query)[None], rows, k)


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


@contextmanager
def one_thread() -> Iterator[None]:
    """Faiss on one thread within the block: deterministic sums, and on a busy machine waiting threads cost more
    than they give. It shares OpenMP's setting with torch, which would train and encode on one thread ever after."""
    import faiss  # noqa: PLC0415 - snapshots open where only NumPy is (`ItemSnapshot.open(exact=True)`)

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def open_index(folder: Path, settings: dict[str, Any], vectors: ItemVectors, rows: NDArray[np.int32]) -> NearestIndex:
    """The index of a snapshot folder."""
    if settings["kind"] == "exact":
        return ExactIndex(vectors, rows)
    import faiss  # noqa: PLC0415 - snapshots open where only NumPy is (`ItemSnapshot.open(exact=True)`)

    index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_READ_ONLY)
    if settings["kind"] == "scan":
        return QuantisedIndex(index, settings["refine"], vectors, rows)
    map_lists(index, folder)
    index.nprobe = settings["probe"]
    return QuantisedIndex(index, settings["refine"], vectors, None)
