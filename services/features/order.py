"""Orders of scored items."""

import numpy as np
from numpy.typing import NDArray


def best_first(scores: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """Positions of the `count` best scores, best first; ties by position, so that equal input gives equal lists."""
    if count <= 0:
        return np.empty(0, np.intp)
    if count < scores.size:
        kth = np.partition(scores, scores.size - count)[scores.size - count]
        positions = np.flatnonzero(scores >= kth)
        return positions[np.argsort(-scores[positions], kind="stable")[:count]]
    return np.argsort(-scores, kind="stable")


def rounded(scores: NDArray[np.float32]) -> list[float]:
    """Scores for an answer, to six decimals: float32 holds no more."""
    return scores.astype(np.float64).round(6).tolist()
