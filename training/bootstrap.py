"""Confidence intervals of means over users."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 50


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% percentile interval."""

    mean: float
    low: float
    high: float


def bootstrap_means(
    values: Mapping[str, NDArray[np.float64]], *, resamples: int = 1_000, seed: int = 0
) -> dict[str, Interval]:
    """Interval of the mean of each named array (all over the same users), resampling users (Efron 1979).

    The same resamples serve every array; NaN (undefined for a user) is left out of the mean, whose own is NaN where no
    user has a value.
    """
    table = np.stack([np.asarray(column, np.float64) for column in values.values()], axis=1)
    defined = np.isfinite(table)
    filled = np.where(defined, table, 0.0)
    users, random = len(table), np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, BLOCK):
        weights = random.multinomial(users, np.full(users, 1.0 / users), size=min(BLOCK, resamples - start))
        means.append((weights @ filled) / np.maximum(weights @ defined, 1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    count = defined.sum(axis=0)
    mean = np.where(count > 0, filled.sum(axis=0) / np.maximum(count, 1), np.nan)
    return {
        name: Interval(*map(float, row)) for name, row in zip(values, zip(mean, low, high, strict=True), strict=True)
    }


def ratio_of_means(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, resamples: int = 1_000, seed: int = 0
) -> tuple[float, float, float]:
    """Ratio of the means with its 95% interval, resampling users (both of one user together), to four places."""
    drawn = np.random.default_rng(seed).integers(0, len(ours), (resamples, len(ours)))
    ratios = ours[drawn].mean(axis=1) / np.maximum(theirs[drawn].mean(axis=1), 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    mean = ours.mean() / max(theirs.mean(), 1e-9)
    return round(float(mean), 4), round(float(low), 4), round(float(high), 4)
