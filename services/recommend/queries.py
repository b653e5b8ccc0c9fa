"""The user's query vector in a request: what a trained user model makes of the latest events."""

import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.features.item_vectors import ItemVectors
from services.features.nearest import NearestIndex, open_index
from services.features.nearest_build import build_index
from services.features.portrait import Portrait
from services.features.snapshot import ItemSnapshot
from services.networks.item_inputs import ItemInputs, Vocabulary, price_buckets
from services.networks.numpy_user_model import TYPE_CODE, NumpyUserModel

FloatArray = NDArray[np.float32]


class QueryModel(Protocol):
    """Users and items of one snapshot in one space: the cosine says how much a user wants an item."""

    @property
    def vectors(self) -> FloatArray:
        """float32 (n, W), unit rows, in the snapshot's order."""
        ...

    def query(self, portrait: Portrait) -> FloatArray | None:
        """float32 (W,), unit; None for a user without known events."""
        ...

    def nearest(self, query: FloatArray, k: int) -> NDArray[np.int32]:
        """Up to k available items, best first."""
        ...


class LearnedQueries:
    """A trained user model over one snapshot. Its items' vectors are computed here, once."""

    def __init__(self, model: NumpyUserModel, words: Vocabulary, snapshot: ItemSnapshot) -> None:
        self._model, self._snapshot = model, snapshot
        self.vectors = model.item_vectors(snapshot_inputs(words, snapshot))
        self._index = _index(self.vectors, np.flatnonzero(snapshot.available).astype(np.int32))

    def query(self, portrait: Portrait) -> FloatArray | None:
        """What the user wants after the positive ones of his recent items, oldest first."""
        positive = [item for item in portrait.recent_items if item.weight > 0][: self._model.config.length][::-1]
        rows = self._snapshot.indices([item.item_id for item in positive])
        known = rows >= 0
        if not known.any():
            return None
        types = np.array([TYPE_CODE.get(item.type, 0) for item in positive], np.int64)
        times = np.array([item.timestamp for item in positive], np.float64)
        return self._model.query(self.vectors[rows[known]], types[known], times[known])

    def nearest(self, query: FloatArray, k: int) -> NDArray[np.int32]:
        found, _ = self._index.search(query[None], k)
        return found[0][found[0] >= 0]


def snapshot_inputs(words: Vocabulary, snapshot: ItemSnapshot) -> ItemInputs:
    """A snapshot's items in the numbers of a vocabulary; names that it lacks are as if absent."""
    item_row = {name: row for row, name in enumerate(words.items, 1)}
    ids = np.fromiter((item_row.get(name, 0) for name in snapshot.item_ids), np.int32, snapshot.count)
    counts = np.concatenate([np.zeros(1, np.float32), words.counts])
    return ItemInputs(
        content=np.asarray(snapshot.vectors, np.float32),
        categories=_rows(words.categories, snapshot.category_index)[snapshot.categories_padded],
        brand=_rows(words.brands, snapshot.brand_index)[snapshot.brand],
        price=price_buckets(np.asarray(snapshot.price, np.float64), words.price_edges),
        id=np.where(counts[ids] > 0, ids, 0).astype(np.int32),
        count=counts[ids],
    )


def _rows(names: tuple[str, ...], codes: dict[str, int]) -> NDArray[np.int32]:
    """Embedding row of each of the snapshot's codes; the last entry, code −1, is none."""
    rows = np.zeros(len(codes) + 1, np.int32)
    for row, name in enumerate(names, 1):
        code = codes.get(name)
        if code is not None:
            rows[code] = row
    return rows


def _index(vectors: FloatArray, rows: NDArray[np.int32]) -> NearestIndex:
    kept = ItemVectors.of(vectors)
    with tempfile.TemporaryDirectory(prefix="portrait-") as folder:  # a mapped index outlives its file's name
        return open_index(Path(folder), build_index(vectors, kept, rows, Path(folder)), kept, rows)
