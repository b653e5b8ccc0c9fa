"""Ranking metrics, vectorised over users. `ranked` is (users, k) item codes, best first, −1 where there is none."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]


def hit_matrix(ranked: IntArray, indptr: NDArray[np.int64], items: IntArray, item_count: int) -> NDArray[np.bool_]:
    """(users, k): whether each ranked item is one of the user's targets (CSR `indptr`, `items`)."""
    owner = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    wanted = np.sort(owner * np.int64(item_count) + items)
    if not len(wanted):
        return np.zeros(ranked.shape, bool)
    offered = np.arange(len(ranked))[:, None] * np.int64(item_count) + ranked
    place = np.minimum(np.searchsorted(wanted, offered), len(wanted) - 1)
    return (wanted[place] == offered) & (ranked >= 0)


def per_user(
    hits: NDArray[np.bool_], target_counts: NDArray[np.int64], cutoffs: Sequence[int]
) -> dict[str, FloatArray]:
    """`recall@k`, `ndcg@k`, `mrr@k`, `map@k` of each user, each in 0–1.

    Recall divides by the number of targets, NDCG by the ideal of min(targets, k) hits on top (binary gains, Järvelin
    and Kekäläinen 2002), MAP by min(targets, k).
    """
    depth = hits.shape[1]
    rank = np.arange(1, depth + 1)
    discount = 1.0 / np.log2(rank + 1.0)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    found = np.cumsum(hits, axis=1)
    gain = np.cumsum(hits * discount, axis=1)
    precision = np.cumsum(hits * found / rank, axis=1)
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, np.inf)
    values: dict[str, FloatArray] = {}
    for cutoff in cutoffs:
        last = min(cutoff, depth) - 1
        reachable = np.minimum(target_counts, cutoff)
        values[f"recall@{cutoff}"] = found[:, last] / target_counts
        values[f"ndcg@{cutoff}"] = gain[:, last] / ideal[np.minimum(reachable, depth)]
        values[f"mrr@{cutoff}"] = np.where(first <= cutoff, 1.0 / first, 0.0)
        values[f"map@{cutoff}"] = precision[:, last] / reachable
    return values


def coverage(ranked: IntArray, item_count: int) -> float:
    """The share of the catalogue that is in anybody's list."""
    offered = np.unique(ranked)
    return float(np.count_nonzero(offered >= 0) / item_count)


def novelty(ranked: IntArray, item_counts: FloatArray, user_count: int) -> FloatArray:
    """Per user: mean −log2 of the smoothed share of users who have the item (Zhou et al. 2010); NaN for empty lists."""
    surprise = -np.log2((item_counts + 1.0) / (user_count + 1.0))
    return _list_means(ranked, surprise)


def popularity_percentile(ranked: IntArray, item_counts: FloatArray) -> FloatArray:
    """Per user: mean popularity percentile of the list (0.5: like a random item; 1: the most popular only)."""
    sorted_counts = np.sort(item_counts)
    below = np.searchsorted(sorted_counts, item_counts, "left")
    upto = np.searchsorted(sorted_counts, item_counts, "right")
    return _list_means(ranked, (below + upto) / (2.0 * len(item_counts)))


def intra_list_diversity(ranked: IntArray, vectors: NDArray[np.float32]) -> FloatArray:
    """Per user: mean 1 − cosine over the pairs of the list (`vectors` has unit rows); NaN for fewer than two items."""
    valid = ranked >= 0
    total = np.einsum("ukd->ud", vectors[ranked] * valid[..., None])
    count = valid.sum(axis=1).astype(np.float64)
    own = (np.linalg.norm(vectors[ranked], axis=2) ** 2 * valid).sum(axis=1)
    pairs = count * (count - 1)
    cosine = (np.square(total).sum(axis=1) - own) / np.maximum(pairs, 1)
    return np.where(pairs > 0, 1.0 - cosine, np.nan)


def _list_means(ranked: IntArray, value: FloatArray) -> FloatArray:
    valid = ranked >= 0
    count = valid.sum(axis=1)
    total = np.where(valid, value[ranked], 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
