"""Exact implementations of what a learned model must beat."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from training.recommender import ScoringRecommender
from training.splits import Split

PairBuilder = Callable[[pa.Table, pa.Array], pa.Table]
"""(events, item_ids) → `item_id`, `neighbour_id`, `score`: the shop's own item-to-item pairs."""

ITEMS_A_BLOCK = 2_000


class Popularity(ScoringRecommender):
    """The items most users have, the same for everybody."""

    name = "popularity"

    def fit(self, split: Split) -> None:
        self.split = split
        self._counts = split.item_counts().astype(np.float32)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.tile(self._counts, (len(users), 1))


class ItemNeighbours(ScoringRecommender):
    """Item-kNN: the summed cosine of an item's users with those of the user's items (Sarwar et al. 2001).

    The user's items weigh decay^rank from the latest on (1: all the same, the textbook's). Each item keeps its
    `neighbours` most similar items; None keeps all.
    """

    name = "item-knn"

    def __init__(self, decay: float = 0.7, neighbours: int | None = None) -> None:
        self.decay, self.neighbours = decay, neighbours

    def fit(self, split: Split) -> None:
        self.split = split
        matrix = split.fit_matrix()
        norm = np.sqrt(np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0))
        unit = (matrix @ sparse.diags(1.0 / norm)).tocsc()
        blocks = [
            _neighbours(unit.T @ unit[:, start : start + ITEMS_A_BLOCK], start, self.neighbours)
            for start in range(0, unit.shape[1], ITEMS_A_BLOCK)
        ]
        self._similarity = sparse.hstack(blocks).tocsr().astype(np.float32)
        self._recent = split.recency(self.decay).astype(np.float32)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return _offered((self._recent[users] @ self._similarity).toarray())


class CoEngagementRecommender(ScoringRecommender):
    """The shop's own item-to-item pairs, summed over the user's latest items with weight decay^rank."""

    name = "co-engagement"

    def __init__(self, build_pairs: PairBuilder, decay: float = 0.7) -> None:
        self.build_pairs, self.decay = build_pairs, decay

    def fit(self, split: Split) -> None:
        self.split = split
        items = split.log.item_ids
        pairs = self.build_pairs(split.fit_events(), items)
        place = [pc.index_in(pairs[name].combine_chunks(), items).to_numpy() for name in ("item_id", "neighbour_id")]
        count = split.log.item_count
        self._pairs = sparse.csr_matrix((pairs["score"].to_numpy(), tuple(place)), shape=(count, count))
        self._recent = split.recency(self.decay)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return _offered((self._recent[users] @ self._pairs).toarray().astype(np.float32))


class ContentProfile(ScoringRecommender):
    """Cosine of the items' vectors with the mean of the user's latest items' vectors, weighted decay^rank.

    `vectors` (items, D) float32, unit rows in catalogue order, zero where an item has none. Decay 0 is the last item
    alone.
    """

    def __init__(self, vectors: NDArray[np.float32], decay: float, name: str) -> None:
        self.vectors, self.decay, self.name = vectors, decay, name

    def fit(self, split: Split) -> None:
        self.split = split
        self._recent = split.recency(self.decay)
        self._has_vector = np.any(self.vectors != 0, axis=1)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        profile = np.asarray(self._recent[users] @ self.vectors, np.float32)
        known = np.any(profile != 0, axis=1)
        score = profile @ self.vectors.T
        score[~known] = -np.inf
        score[:, ~self._has_vector] = -np.inf
        return score


def last_item_content(vectors: NDArray[np.float32]) -> ContentProfile:
    """The items most like the user's last one."""
    return ContentProfile(vectors, 0.0, "last-item-content")


def weighted_profile(vectors: NDArray[np.float32], decay: float = 0.8) -> ContentProfile:
    """The items most like the user's weighted history."""
    return ContentProfile(vectors, decay, "weighted-profile")


def _neighbours(block: sparse.csc_matrix, start: int, keep: int | None) -> sparse.csc_matrix:
    """Columns `start`… of a similarity matrix without the items themselves, each with its `keep` largest entries."""
    block = block.tocsc()
    column = np.repeat(np.arange(block.shape[1]), np.diff(block.indptr))
    block.data[block.indices == column + start] = 0.0
    if keep is not None:
        order = np.lexsort((-block.data, column))
        rank = np.arange(len(order)) - block.indptr[column[order]]
        block.data[order[rank >= keep]] = 0.0
    block.eliminate_zeros()
    return block


def _offered(score: NDArray[np.float32]) -> NDArray[np.float32]:
    score[score <= 0] = -np.inf
    return score
