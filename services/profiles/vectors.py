"""The long-term and the short-term vector: weighted means of item vectors, on the unit sphere."""

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.profiles.sums import MASSES, ProfileSums

Flags = NDArray[np.bool_]
Matrix = NDArray[np.float32]

CANCELLED = 1e-7
"""A sum no longer than this, in purchases, is the rounding error of likes and dislikes that cancel out."""


def taste_vectors(sums: ProfileSums) -> tuple[Matrix, Matrix, NDArray[np.bool_]]:
    """Long-term and short-term vectors (U, D) float32 and which users have them (U,).

    A mean's length does not matter, so it is the normalised sum. A user who liked nothing (net weight ≤ 0), or whose
    likes and dislikes cancel out, has no vector: pointing away from something is not a direction.
    """
    return _units(sums.long_term, sums.short_term, sums.mass[:, MASSES.index("vector")] > 0)


@native(read(np.float32, 2), read(np.float32, 2), read(np.bool_), reassociated=True)
def _units(long_sums: Matrix, short_sums: Matrix, liked: Flags) -> tuple[Matrix, Matrix, Flags]:
    """Both sums scaled to length 1 of those users who are `liked` and have both; zeros for the others."""
    users, dimension = long_sums.shape
    long_term, short_term = np.zeros((users, dimension), np.float32), np.zeros((users, dimension), np.float32)
    known = np.zeros(users, np.bool_)
    for user in range(users):
        if not liked[user]:
            continue
        long_square = short_square = np.float32(0.0)
        for k in range(dimension):
            long_square += long_sums[user, k] * long_sums[user, k]
            short_square += short_sums[user, k] * short_sums[user, k]
        long_length, short_length = np.sqrt(long_square), np.sqrt(short_square)
        known[user] = long_length > CANCELLED and short_length > CANCELLED
        if known[user]:
            for k in range(dimension):
                long_term[user, k] = long_sums[user, k] / long_length
                short_term[user, k] = short_sums[user, k] / short_length
    return long_term, short_term, known
