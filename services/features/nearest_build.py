"""Builds the index of a snapshot's item vectors, and sets how widely it is searched by what that finds.

How many lists hold the nearest items, and how many of the quantised best must be scored again, depends on the vectors.
So the index is asked for the neighbours of some items, and of means of items that lie near each other, as profiles are.
As many lists are searched as these need, times `WIDER`: texts that people search with lie farther off than items.

An index goes on from the one before it (`Earlier`): of the same vectors it is that one, and of others it keeps what was
trained, the centres of the lists and the code books, while these still find what they found.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.features.inverted_lists import LISTS_FILE, SIZES_FILE, write_lists
from services.features.item_vectors import ItemVectors
from services.features.nearest import EXACT, INDEX_FILE, best_of, one_thread, open_index
from services.features.versions import link_or_copy

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]

INDEX_FILES = (INDEX_FILE, LISTS_FILE, SIZES_FILE)

EXACT_LIMIT = 1_000
SCAN_LIMIT = 40_000
"""Up to here every code is scanned; above it only the codes of the nearest lists."""
TRAINING_POINTS = 65_536
TRAINING_POINTS_A_LIST = 40
CACHED_CENTRES = 1_024
CHUNK = 65_536
SEED = 20_240_607

RECALL = 0.97
"""Of the `ASKED` nearest of `QUERIES` items and as many means of `MEANT` items near each other."""
ASKED, QUERIES, MEANT = 100, 64, 4
REFINES = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
FEWEST_PROBES = 4
WIDER = 4
"""Of 54,667 products by their texts: with the lists that find .97 of products' neighbours, under .90 of real queries'
are found; with four times as many .955."""
OUTGROWN = 1.5
"""An index of so many times the items that it was trained for, or of as many times fewer, is trained anew."""
WORN = 2
"""As is one that must look into so many times the lists, or score so many times the candidates, that it had to."""


@dataclass(frozen=True)
class Earlier:
    """An index to go on from, over vectors of the same space: its folder and its settings."""

    folder: Path
    settings: dict[str, Any]

    def fits(self, items: int) -> bool:
        """Whether what it was trained for is about as much."""
        trained = self.settings.get("trained", 0)
        return self.settings["kind"] == _kind(items) and trained / OUTGROWN <= items <= trained * OUTGROWN

    def finds_as_much(self, settings: dict[str, Any]) -> bool:
        """Whether an index with what it was trained to finds as much for as little, by the settings of both."""
        worn = any(settings[name] > WORN * self.settings[name] for name in ("probe", "refine") if name in settings)
        return settings["recall"] >= min(RECALL, self.settings["recall"]) and not worn


def build_index(
    vectors: FloatArray, kept: ItemVectors, rows: IndexArray, folder: Path, earlier: Earlier | None = None
) -> dict[str, Any]:
    """Write the index over `vectors[rows]` into `folder`. Returns what `open_index` needs.

    `vectors` (n, D) are L2-normalised, `kept` the same ones as the snapshot keeps them. Deterministic: the same of the
    same `earlier` one, or of none.
    """
    if rows.size <= EXACT_LIMIT or vectors.shape[1] % 2:
        return EXACT
    source = _digest(vectors, rows)
    if earlier is not None and earlier.settings.get("source") == source:
        for name in INDEX_FILES:
            if (earlier.folder / name).exists():
                link_or_copy(earlier.folder / name, folder / name)
        return earlier.settings
    with one_thread():
        if earlier is not None and earlier.fits(rows.size):
            trained = {"source": source, "trained": earlier.settings["trained"]}
            settings = _built(_emptied(earlier), vectors, kept, rows, folder) | trained
            if earlier.finds_as_much(settings):
                return settings
        return _built(_trained(vectors, rows), vectors, kept, rows, folder) | {"source": source, "trained": rows.size}


def _kind(items: int) -> str:
    return "scan" if items <= SCAN_LIMIT else "lists"


def _digest(vectors: FloatArray, rows: IndexArray) -> str:
    """Of the vectors that are searched and where they lie."""
    digest = hashlib.blake2b(rows, digest_size=16)
    for start in range(0, rows.size, CHUNK):
        digest.update(np.ascontiguousarray(vectors[rows[start : start + CHUNK]]))
    return digest.hexdigest()


def _trained(vectors: FloatArray, rows: IndexArray) -> Any:
    """An empty index with centres and code books of these vectors."""
    scanned = _kind(rows.size) == "scan"
    index = _scan(vectors.shape[1]) if scanned else _lists(vectors.shape[1], rows.size)
    index.train(_sample(vectors, rows, 0 if scanned else index.nlist * TRAINING_POINTS_A_LIST))
    return index


def _emptied(earlier: Earlier) -> Any:
    """An empty index with another one's centres and code books."""
    import faiss  # noqa: PLC0415 - snapshots open where only NumPy is (`ItemSnapshot.open(exact=True)`)

    index = faiss.read_index(str(earlier.folder / INDEX_FILE))
    index.reset()
    return index


def _built(index: Any, vectors: FloatArray, kept: ItemVectors, rows: IndexArray, folder: Path) -> dict[str, Any]:
    """Fill and write a trained, empty index."""
    import faiss  # noqa: PLC0415 - as above

    scanned = _kind(rows.size) == "scan"
    if not scanned:
        faiss.write_index(index, str(folder / INDEX_FILE))  # empty: the lists are mapped from a file of their own
    for start in range(0, rows.size, CHUNK):
        part = rows[start : start + CHUNK]
        if scanned:
            index.add(vectors[part])
        else:
            index.add_with_ids(vectors[part], part.astype(np.int64))
    if scanned:
        faiss.write_index(index, str(folder / INDEX_FILE))
        return _calibrated(folder, {"kind": "scan"}, [], vectors, kept, rows)
    write_lists(index, folder)
    probes = [1 << power for power in range(FEWEST_PROBES.bit_length() - 1, index.nlist.bit_length() - 2)]
    del index
    return _calibrated(folder, {"kind": "lists"}, probes, vectors, kept, rows)


def _scan(dimension: int) -> Any:
    import faiss  # noqa: PLC0415 - as above

    index = faiss.IndexPQFastScan(dimension, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.seed = SEED
    return index


def _lists(dimension: int, count: int) -> Any:
    """4√n lists, 2√n where that many centres would outgrow a core's cache; codes of vectors less their centre."""
    import faiss  # noqa: PLC0415 - as above

    root = math.sqrt(count)
    lists = 1 << round(math.log2(max(2 * root, min(4 * root, CACHED_CENTRES))))
    flat = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFPQFastScan(flat, dimension, lists, dimension // 2, 4, faiss.METRIC_INNER_PRODUCT)
    flat.this.disown()
    index.own_fields = True
    index.by_residual = True
    index.cp.seed = index.pq.cp.seed = SEED
    return index


def _calibrated(
    folder: Path,
    settings: dict[str, Any],
    probes: list[int],
    vectors: FloatArray,
    kept: ItemVectors,
    rows: IndexArray,
) -> dict[str, Any]:
    """The settings with `WIDER` times the fewest probes that reach `RECALL`, and the least refinement that does."""
    queries, expected = _questions(vectors, rows)

    def recall(tried: dict[str, Any]) -> float:
        found, _ = open_index(folder, tried, kept, rows).search(queries, ASKED)
        return float(np.mean([np.isin(e, f).mean() for f, e in zip(found, expected, strict=True)]))

    if probes:
        widest = settings | {"refine": REFINES[-1]}
        enough = (probe for probe in probes if recall(widest | {"probe": probe}) >= RECALL)
        settings = settings | {"probe": WIDER * next(enough, probes[-1])}
    for refine in REFINES:
        settings = settings | {"refine": refine}
        reached = recall(settings)
        if reached >= RECALL:
            break
    return settings | {"recall": round(reached, 4)}


def _questions(vectors: FloatArray, rows: IndexArray) -> tuple[FloatArray, IndexArray]:
    """Queries float32 (2 · QUERIES, D), and the rows int32 (2 · QUERIES, ASKED) that are nearest to each."""
    random = np.random.default_rng(SEED)
    items = vectors[random.choice(rows, QUERIES, replace=False)]
    near = exact_nearest(vectors, rows, items, ASKED)
    chosen = random.permuted(near, axis=1)[:, :MEANT]
    means = vectors[chosen].mean(axis=1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return np.concatenate((items, means)), np.concatenate((near, exact_nearest(vectors, rows, means, ASKED)))


def exact_nearest(vectors: FloatArray, rows: IndexArray, queries: FloatArray, k: int) -> IndexArray:
    """The rows int32 (q, k) of the greatest inner products with queries (q, D), by passes over parts; k ≤ rows."""
    found, scores = [], []
    for start in range(0, rows.size, CHUNK):
        part = rows[start : start + CHUNK]
        best, products = best_of(queries @ vectors[part].T, part, k)
        found.append(best)
        scores.append(np.where(best >= 0, products, -np.inf))
    order = np.argsort(-np.concatenate(scores, axis=1), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(np.concatenate(found, axis=1), order, axis=1)


def _sample(vectors: FloatArray, rows: IndexArray, wanted: int) -> FloatArray:
    """The vectors of at most `TRAINING_POINTS` rows, or as many as are wanted; the same ones every time."""
    count = max(TRAINING_POINTS, wanted)
    if rows.size <= count:
        return vectors[rows]
    return vectors[np.sort(np.random.default_rng(SEED).choice(rows, count, replace=False))]
