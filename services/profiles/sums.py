"""Everything of a portrait that is a decayed sum: built from events in any batches, merged, then read out."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.decay import DecayedSums, Matrix
from services.profiles.events import EventBatch
from services.profiles.weights import BaseWeights, mean_ratings

Floats = NDArray[np.float64]

MASSES = ("vector", "category", "brand")
"""Columns of `ProfileSums.mass`: net weight of the events on items that have a vector, a category, a brand; hides,
whose importance is negative, are left out."""


@dataclass(frozen=True)
class RatedSums:
    """A sum of weights that are centred on the user's mean rating: `plain − mean · slope`."""

    plain: DecayedSums
    slope: DecayedSums | None

    def merged(self, other: "RatedSums") -> "RatedSums":
        if self.slope is None or other.slope is None:
            return RatedSums(self.plain.merged(other.plain), self.slope or other.slope)
        return RatedSums(self.plain.merged(other.plain), self.slope.merged(other.slope))

    def totals(self, mean_rating: Floats, to: Floats | None = None) -> Matrix:
        """(rows, k) as of `to` (rows,), by default of each row's own newest event; `mean_rating` (rows,)."""
        both = self.plain if self.slope is None else self.plain.merged(self.slope.scaled(-mean_rating))
        return both.totals if to is None else both.advanced(to).totals


@dataclass(frozen=True)
class ProfileSums:
    """The sums of U users. `price` holds Σw, Σw·ln p, Σw·(ln p)²; `ratings` the count and sum of all ratings."""

    long_term: RatedSums
    short_term: RatedSums
    categories: RatedSums
    brands: RatedSums
    mass: RatedSums
    evidence: DecayedSums
    price: DecayedSums
    ratings: DecayedSums

    def merged(self, other: "ProfileSums") -> "ProfileSums":
        """The sums of both sets of events; rows stand for the same users in both."""
        return ProfileSums(**{f.name: getattr(self, f.name).merged(getattr(other, f.name)) for f in fields(self)})

    def mean_rating(self, config: ProfileConfig) -> Floats:
        """(U,) each user's mean rating, drawn towards the prior."""
        return mean_ratings(self.ratings.totals[:, 0], self.ratings.totals[:, 1], config)


def profile_sums(
    events: EventBatch,
    weights: BaseWeights,
    catalogue: Catalogue,
    config: ProfileConfig,
    kept: NDArray[np.bool_] | None = None,
) -> ProfileSums:
    """The sums of a batch's events, or of those `kept` (m,). `weights` come from `base_weights`, which looks up the
    users' earlier events on an item, so that sums of parts of a batch merge into the sums of the whole."""
    builder = _Builder(events, weights, np.ones(events.count, bool) if kept is None else kept)
    long, short = config.long_half_life, config.short_half_life
    known = events.row >= 0
    with_vector = known & catalogue.has_vector[events.row] if catalogue.count else known
    return ProfileSums(
        long_term=builder.of_items(catalogue.vectors, with_vector, long),
        short_term=builder.of_items(catalogue.vectors, with_vector, short),
        categories=builder.of_items(catalogue.categories, known, long),
        brands=builder.of_items(catalogue.brands(), known, long),
        mass=builder.of_items(_masses(catalogue), known & ~events.is_type(EventType.HIDE), long),
        evidence=builder.of_events(weights.evidence[:, None], weights.evidence > 0, long),
        price=builder.of_events(*_price_moments(events, weights, catalogue), long),
        ratings=builder.of_events(
            np.column_stack([np.ones(events.count), events.rating]), ~np.isnan(events.rating), np.inf
        ),
    )


class _Builder:
    """Sums of one batch over some of its events and some matrix."""

    def __init__(self, events: EventBatch, weights: BaseWeights, kept: NDArray[np.bool_]) -> None:
        self.events, self.weights, self.kept = events, weights, kept

    def of_items(self, matrix: Matrix, kept: NDArray[np.bool_], half_life: float) -> RatedSums:
        kept = kept & self.kept & (self.weights.evidence > 0)
        plain = self._sum(matrix, kept, self.weights.constant, half_life)
        rated = kept & (self.weights.slope != 0)
        return RatedSums(plain, self._sum(matrix, rated, self.weights.slope, half_life) if rated.any() else None)

    def of_events(self, values: Floats, kept: NDArray[np.bool_], half_life: float) -> DecayedSums:
        index = np.flatnonzero(kept & self.kept)
        user, time = self.events.user[index], self.events.time[index]
        return DecayedSums.of_events(user, self.events.users, time, np.ones(len(index)), values[index], half_life)

    def _sum(self, matrix: Matrix, kept: NDArray[np.bool_], weight: Floats, half_life: float) -> DecayedSums:
        index = np.flatnonzero(kept)
        user, row, time = self.events.user[index], self.events.row[index], self.events.time[index]
        return DecayedSums.of_items(user, row, self.events.users, time, weight[index], matrix, half_life)


def _masses(catalogue: Catalogue) -> Floats:
    has_category = np.diff(catalogue.categories.indptr) > 0
    return np.column_stack([catalogue.has_vector, has_category, catalogue.brand >= 0]).astype(np.float64)


def _price_moments(events: EventBatch, weights: BaseWeights, catalogue: Catalogue) -> tuple[Floats, NDArray[np.bool_]]:
    """(m, 3) of w, w·ln p, w·(ln p)² with the price paid, else the item's; and which events count.

    What a user looks at or pays for shows their price level whether they liked it or not: the weight is the evidence.
    """
    listed = np.append(catalogue.price, np.nan)[events.row]
    price = np.where(events.price > 0, events.price, listed)
    kept = (price > 0) & (weights.evidence > 0) & ~events.is_type(EventType.HIDE)
    log = np.log(np.where(kept, price, 1.0))
    return weights.evidence[:, None] * np.column_stack([np.ones(events.count), log, log**2]), kept
