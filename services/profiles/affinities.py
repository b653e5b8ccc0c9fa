"""Category, brand and price affinities, read out of the decayed sums and smoothed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.ranked import SparseRows, rank_rows
from services.profiles.reference import ReferenceStatistics
from services.profiles.sums import MASSES, ProfileSums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BAND = 1.2815515655446004
"""Standard normal quantile of 90%: the 10–90% band of a log-normal lies this many deviations around the mean."""


@dataclass(frozen=True)
class Affinities:
    """Of U users: ranked categories and brands, and `price` (U, 3) typical, low, high, NaN where unknown."""

    categories: SparseRows
    brands: SparseRows
    price: Floats


def affinities(
    sums: ProfileSums, catalogue: Catalogue, reference: ReferenceStatistics, config: ProfileConfig
) -> Affinities:
    """Read the affinities out of the sums, as of each user's newest event."""
    categories = smoothed_shares(
        sums.categories,
        sums.mass[:, MASSES.index("category")],
        reference.aligned("category_prior", catalogue.category_names),
        config.smoothing,
    )
    brands = smoothed_shares(
        sums.brands,
        sums.mass[:, MASSES.index("brand")],
        reference.aligned("brand_prior", catalogue.brand_names),
        config.smoothing,
    )
    specific = categories.times(1.0 - catalogue.category_coverage)
    return Affinities(
        categories=rank_rows(specific, config.max_affinities, config.min_affinity),
        brands=rank_rows(brands, config.max_affinities, config.min_affinity),
        price=price_band(sums.price, config),
    )


def smoothed_shares(totals: SparseRows, mass: Floats, prior: Floats, strength: float) -> SparseRows:
    """(U, C) shares (S + k·π) / (D + k) of the names a user touched, 0 for a name with a sum ≤ 0.

    S (U, C) is the net weight on a name, D (U,) the net weight on all, π (C,) the shop's share and k the strength of
    the prior in purchases. Hides lower S but never make another name's share exceed 1.
    """
    return SparseRows(
        *_shares(totals.indptr, totals.columns, totals.values, np.ascontiguousarray(mass), prior, strength)
    )


@native(
    *(read(np.int64), read(np.int64), read(np.float64)),
    *(read(np.float64), read(np.float64), np.float64),
)
def _shares(
    indptr: Ints, columns: Ints, values: Floats, mass: Floats, prior: Floats, strength: float
) -> tuple[Ints, Ints, Floats]:
    """The fields of `smoothed_shares`."""
    starts, kept, shares = np.zeros(len(indptr), np.int64), np.empty(len(columns), np.int64), np.empty(len(columns))
    count = 0
    for row in range(len(indptr) - 1):
        entries = range(indptr[row], indptr[row + 1])
        denominator = max(mass[row], 0.0)
        for at in entries:
            denominator = max(denominator, values[at])
        for at in entries:
            if values[at] > 0:
                kept[count] = columns[at]
                shares[count] = (values[at] + strength * prior[columns[at]]) / (denominator + strength)
                count += 1
        starts[row + 1] = count
    return starts, kept[:count], shares[:count]


def price_band(moments: Floats, config: ProfileConfig) -> Floats:
    """(U, 3) weighted geometric mean and the 10–90% band around it, from Σw, Σw·ln p and Σw·(ln p)².

    The variance of ln p is drawn towards a prior, so that one purchase does not make a band of no width.
    """
    return _band(np.ascontiguousarray(moments), config.price_prior_weight, config.price_prior_deviation)


@native(read(np.float64, 2), np.float64, np.float64)
def _band(moments: Floats, prior_weight: float, prior_deviation: float) -> Floats:
    """The rows of `price_band`."""
    found = np.empty((len(moments), 3))
    for user in range(len(moments)):
        weight, first, second = moments[user]
        mean = first / weight
        spread = max(second - weight * mean**2, 0.0)
        deviation = np.sqrt((spread + prior_weight * prior_deviation**2) / (weight + prior_weight))
        found[user, 0] = np.exp(mean)
        found[user, 1] = np.exp(mean - BAND * deviation)
        found[user, 2] = np.exp(mean + BAND * deviation)
    return found
