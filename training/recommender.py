"""What evaluation asks of a model, and the common part of models that score every item."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from training.splits import Split

SCORES_IN_MEMORY = 32_000_000
"""Scores (users × items) held at once, 4 bytes each."""


class Recommender(Protocol):
    """Learns from a split's fit part and ranks the catalogue for its users."""

    name: str

    def fit(self, split: Split) -> None:
        """Learn from `split.fit…`; what `split.history…` adds may be used to describe users only."""

    def recommend(self, users: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """(len(users), k) item codes, best first, without the users' `seen` items; −1 where there is none."""


class ScoringRecommender:
    """Ranks by a dense score: subclasses set `self.split` in `fit` and implement `scores`."""

    name: str
    split: Split
    deterministic = True

    def scores(self, users: NDArray[np.int32]) -> NDArray[np.float32]:
        """(len(users), items); −inf where the model offers nothing."""
        raise NotImplementedError

    def recommend(self, users: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """See `Recommender`. Equal scores are ranked in catalogue order."""
        batch = max(1, SCORES_IN_MEMORY // self.split.log.item_count)
        parts = [self._rank(users[start : start + batch], k) for start in range(0, len(users), batch)]
        return np.concatenate(parts) if parts else np.zeros((0, k), np.int32)

    def _rank(self, users: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        score = self.scores(users)
        seen = self.split.seen[users]
        score[np.repeat(np.arange(len(users)), np.diff(seen.indptr)), seen.indices] = -np.inf
        return top_items(score, k)


def top_items(score: NDArray[np.float32], k: int) -> NDArray[np.int32]:
    """(rows, k) columns with the largest scores, best first, of equal ones the lower column first; −1 for −inf."""
    count = score.shape[1]
    width = min(k, count)
    best = (
        np.argpartition(-score, width - 1, axis=1)[:, :width]
        if width < count
        else np.tile(np.arange(count), (len(score), 1))
    )
    value = np.take_along_axis(score, best, axis=1)
    order = np.lexsort((best, -value), axis=1)
    ranked = np.take_along_axis(best, order, axis=1).astype(np.int32)
    ranked[np.isneginf(np.take_along_axis(value, order, axis=1))] = -1
    return np.pad(ranked, ((0, 0), (0, k - width)), constant_values=-1)
