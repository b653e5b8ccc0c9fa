"""Exact implementations of what a learned model must beat."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import linalg, sparse

from services.core.errors import InvalidInput
from training.recommender import ScoringRecommender
from training.splits import Split

PairBuilder = Callable[[pa.Table, pa.Array], pa.Table]
"""(events, item_ids) → `item_id`, `neighbour_id`, `score`: the shop's own item-to-item pairs."""

ITEMS_A_BLOCK = 2_000
EASE_ITEMS = 20_000
"""EASE holds a dense matrix of items × items."""
FACTOR_ITEMS = 500_000
"""Every factor model scores all items for every user: beyond, an hour's work."""


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


class Ease(ScoringRecommender):
    """EASE: the linear item-to-item model with zero diagonal, in closed form (Steck 2019).

    `regularisation` λ as in `(XᵀX + λI)⁻¹`. It needs a dense matrix of items × items, and so is for small catalogues.
    """

    name = "ease"

    def __init__(self, regularisation: float = 100.0) -> None:
        self.regularisation = regularisation

    def fit(self, split: Split) -> None:
        """Raises InvalidInput for a catalogue whose matrix would not fit."""
        if split.log.item_count > EASE_ITEMS:
            raise InvalidInput(
                f"ease holds a matrix of items × items: up to {EASE_ITEMS:,} items, not {split.log.item_count:,}. "
                "Leave it out of --models"
            )
        self.split = split
        matrix = split.fit_matrix().astype(np.float32)
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices_from(gram)] += np.float32(self.regularisation)
        inverse = linalg.inv(gram, overwrite_a=True, check_finite=False)
        self._weights = inverse / -np.diag(inverse)
        np.fill_diagonal(self._weights, 0.0)
        self._history = split.seen.astype(np.float32)

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(self._history[users] @ self._weights, np.float32)


class Factors(ScoringRecommender):
    """Matrix factorisation of the library `implicit`: alternating least squares (Hu et al. 2008) or BPR (Rendle et al.
    2009). Users are represented by their history as a whole; order does not count."""

    deterministic = False

    def __init__(self, name: str, seed: int, factors: int = 128) -> None:
        self.name, self.seed, self.factors = name, seed, factors

    def fit(self, split: Split) -> None:
        """Raises InvalidInput where `implicit` is not installed: training runs with torch alone too."""
        try:
            from implicit.als import AlternatingLeastSquares  # noqa: PLC0415 - see above
            from implicit.bpr import BayesianPersonalizedRanking  # noqa: PLC0415 - see above
        except ImportError as error:
            raise InvalidInput(
                f"{self.name} needs the library implicit of requirements.lock: install it, or leave {self.name} out of "
                "--models"
            ) from error
        self.split = split
        if self.name == "als":
            model = AlternatingLeastSquares(
                factors=self.factors, regularization=0.1, alpha=5.0, iterations=20, random_state=self.seed
            )
        else:
            model = BayesianPersonalizedRanking(
                factors=self.factors, learning_rate=0.05, regularization=0.01, iterations=200, random_state=self.seed
            )
        model.fit(split.seen.astype(np.float32), show_progress=False)
        self._users, self._items = model.user_factors, model.item_factors

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(self._users[users] @ self._items.T, np.float32)


class CoEngagementRecommender(ScoringRecommender):
    """The shop's own item-to-item pairs, summed over the user's latest items with weight decay^rank."""

    name = "co-engagement"

    def __init__(self, build_pairs: PairBuilder, decay: float = 0.7) -> None:
        self.build_pairs, self.decay = build_pairs, decay

    def fit(self, split: Split) -> None:
        self.split = split
        items = split.log.item_ids
        pairs = self.build_pairs(split.fit_events(), items)
        named = (pairs[name].combine_chunks().cast(pa.string()) for name in ("item_id", "neighbour_id"))
        place = [pc.index_in(ids, items).to_numpy() for ids in named]
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
