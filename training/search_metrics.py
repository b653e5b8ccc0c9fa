"""Metrics of ranked, judged lists with graded gains. Lists lie one after the other, `starts` int64 (lists + 1,)."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CUTOFF = 10


def ranks(scores: NDArray, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (rows,): the place of each row in its list by falling score, from 0; equal scores keep the file's order."""
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((-scores, owner))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) - starts[owner]
    return found


def dcg(scores: NDArray, gain: FloatArray, starts: NDArray[np.int64], cutoff: int = CUTOFF) -> FloatArray:
    """(lists,): Σ gain / log2(rank + 2) over the first `cutoff` (Järvelin and Kekäläinen 2002)."""
    rank = ranks(scores, starts)
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return np.bincount(owner, np.where(rank < cutoff, gain / np.log2(rank + 2.0), 0), minlength=len(starts) - 1)


def ndcg(scores: NDArray, gain: FloatArray, starts: NDArray[np.int64], cutoff: int = CUTOFF) -> FloatArray:
    """(lists,): DCG over that of the best order; NaN where nothing is worth anything."""
    best = dcg(gain, gain, starts, cutoff)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(best > 0, dcg(scores, gain, starts, cutoff) / best, np.nan)


def random_ndcg(gain: FloatArray, starts: NDArray[np.int64], cutoff: int = CUTOFF) -> FloatArray:
    """(lists,): what a random order is worth on average, exactly: every place holds the list's mean gain."""
    sizes = np.diff(starts)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    mean = np.bincount(owner, gain, minlength=len(sizes)) / np.maximum(sizes, 1)
    discounts = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(cutoff) + 2.0))))
    best = dcg(gain, gain, starts, cutoff)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(best > 0, mean * discounts[np.minimum(sizes, cutoff)] / best, np.nan)


def reciprocal_rank(scores: NDArray, relevant: NDArray[np.bool_], starts: NDArray[np.int64]) -> FloatArray:
    """(lists,): 1 / place of the first relevant row; NaN in lists without one."""
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    best = np.full(len(starts) - 1, np.inf)
    np.minimum.at(best, owner[relevant], ranks(scores, starts)[relevant] + 1.0)
    return np.where(np.isfinite(best), 1 / best, np.nan)
