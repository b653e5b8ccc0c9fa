"""Seeded randomness and the vectorised draws that every part of the simulation uses."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Independent streams of random numbers of one seed; the numbers are part of the output's contract."""

    CATALOGUE = 1
    HOT_LIST = 2
    TASTE = 3
    INTENT = 4
    VISIT = 5
    RESPONSE = 6
    PICTURE = 7


def generator(seed: int, stream: Stream, *keys: int) -> np.random.Generator:
    """A generator of its own for each (seed, stream, keys), so that no part's draws shift another's."""
    return np.random.default_rng([seed, int(stream), *keys])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def row_cdf(weights_RC: np.ndarray) -> np.ndarray:
    """Cumulative distributions of each row, last column exactly 1. Every row needs a positive weight."""
    cdf = np.cumsum(weights_RC, axis=1, dtype=np.float64)
    cdf /= cdf[:, -1:]
    cdf[:, -1] = 1.0
    return cdf


def draw_columns(cdf_RC: np.ndarray, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """One column for each entry of `rows`, by that row's distribution: one search over all rows, end to end."""
    n_rows, n_columns = cdf_RC.shape
    flat = (cdf_RC + np.arange(n_rows)[:, None]).ravel()
    found = np.searchsorted(flat, rows + uniform, side="right") - rows * n_columns
    return np.minimum(found, n_columns - 1)


def draw_cdf(cdf: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    return np.minimum(np.searchsorted(cdf, uniform, side="right"), len(cdf) - 1)


def top_k_mask(score_RC: np.ndarray, k_R: np.ndarray) -> np.ndarray:
    """True at the k highest scores of each row, k by row; entries of -inf are never chosen."""
    rank = np.argsort(np.argsort(-score_RC, axis=1, kind="stable"), axis=1, kind="stable")
    return (rank < k_R[:, None]) & np.isfinite(score_RC)


def running_total_before(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Sum of the earlier values of the same group; equal groups must stand together."""
    if not len(group):
        return np.zeros(0)
    before = np.cumsum(value) - value
    first = np.r_[True, group[1:] != group[:-1]]
    return before - before[first][np.cumsum(first) - 1]
