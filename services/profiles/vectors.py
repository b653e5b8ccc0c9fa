"""The long-term and the short-term vector: weighted means of item vectors, on the unit sphere."""

import numpy as np
from numpy.typing import NDArray

from services.profiles.sums import MASSES, ProfileSums

Matrix = NDArray[np.float32]

CANCELLED = 1e-7
"""A sum no longer than this, in purchases, is the rounding error of likes and dislikes that cancel out."""


def taste_vectors(sums: ProfileSums) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
    """Long-term and short-term vectors (U, D) float32 and which users have them (U,).

    A mean's length does not matter, so it is the normalised sum. A user who liked nothing (net weight ≤ 0), or whose
    likes and dislikes cancel out, has no vector: pointing away from something is not a direction.
    """
    liked = sums.mass[:, MASSES.index("vector")] > 0
    long_term, long_known = unit_rows(sums.long_term)
    short_term, short_known = unit_rows(sums.short_term)
    known = liked & long_known & short_known
    return long_term * known[:, None], short_term * known[:, None], known


def unit_rows(matrix: NDArray) -> tuple[Matrix, NDArray[np.bool_]]:
    """Rows scaled to length 1 as float32, and which rows had a length; the others become zero."""
    length = np.linalg.norm(matrix, axis=1)
    known = length > CANCELLED
    return (matrix / np.where(known, length, 1.0)[:, None] * known[:, None]).astype(np.float32), known
