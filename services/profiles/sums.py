"""The decayed sums of a portrait, read out of the users' states against the catalogue of the day."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.decay import EMPTY, DecayedSums, Matrix
from services.profiles.state import UserStates
from services.profiles.weights import mean_ratings

Floats = NDArray[np.float64]

MASSES = ("vector", "category", "brand")
"""Columns of `ProfileSums.mass`: net weight of the events on items that have a vector, a category, a brand; hides,
whose importance is negative, are left out."""


@dataclass(frozen=True)
class RatedSums:
    """A sum of weights that are centred on the user's mean rating: `plain − mean · slope`."""

    plain: DecayedSums
    slope: DecayedSums | None

    def totals(self, mean_rating: Floats, to: Floats | None = None) -> Matrix:
        """(rows, k) as of `to` (rows,), by default of each row's own newest event; `mean_rating` (rows,)."""
        both = self.plain if self.slope is None else self.plain.merged(self.slope.scaled(-mean_rating))
        return both.totals if to is None else both.advanced(to).totals


@dataclass(frozen=True)
class ProfileSums:
    """The sums of U users. `price` holds Σw, Σw·ln p, Σw·(ln p)²; `ratings` (U, 2) the count and sum of
    all ratings."""

    long_term: RatedSums
    short_term: RatedSums
    categories: RatedSums
    brands: RatedSums
    mass: RatedSums
    evidence: DecayedSums
    price: DecayedSums
    ratings: Floats

    def mean_rating(self, config: ProfileConfig) -> Floats:
        """(U,) each user's mean rating, drawn towards the prior."""
        return mean_ratings(self.ratings[:, 0], self.ratings[:, 1], config)


def profile_sums(states: UserStates, catalogue: Catalogue, config: ProfileConfig) -> ProfileSums:
    """The sums of the users' states over what the catalogue says of their items."""
    rows = _Rows(states, catalogue)
    long, short = config.long_half_life, config.short_half_life
    return ProfileSums(
        long_term=rows.rated(catalogue.vectors, "long", long, rows.with_vector),
        short_term=rows.rated(catalogue.vectors, "short", short, rows.with_vector),
        categories=rows.rated(catalogue.categories, "long", long, rows.known),
        brands=rows.rated(catalogue.brands, "long", long, rows.known),
        mass=rows.rated(_masses(catalogue), "long", long, rows.known, less="hides"),
        evidence=rows.plain(states.rows["evidence"][:, None], rows.said, long),
        price=_price_moments(states, rows, catalogue, long),
        ratings=states.totals["ratings"][:, :2],
    )


class _Rows:
    """Item rows of states as weighted, timed observations of catalogue rows."""

    def __init__(self, states: UserStates, catalogue: Catalogue) -> None:
        self.states = states
        self.said = states.rows["count"] > 0
        self.row = catalogue.indices(states.item_ids)[states.item]
        self.known = self.said & (self.row >= 0)
        self.with_vector = self.known & catalogue.has_vector[self.row] if catalogue.count else self.known

    def rated(
        self, matrix: Matrix, name: str, half_life: float, kept: NDArray[np.bool_], less: str | None = None
    ) -> RatedSums:
        """Sums of the weights `name`, without the part `less`, times the rows of a matrix of items."""
        rows = self.states.rows
        weight = rows[name] if less is None else rows[name] - rows[less]
        slope = rows[f"{name}_slope"]
        rated = kept & (slope != 0)
        plain = self._of_items(matrix, kept, weight, half_life)
        return RatedSums(plain, self._of_items(matrix, rated, slope, half_life) if rated.any() else None)

    def plain(self, values: Floats, kept: NDArray[np.bool_], half_life: float) -> DecayedSums:
        """Sums of `values` (h, k) themselves."""
        index = np.flatnonzero(kept)
        user, time = self.states.user[index], self.states.rows["time"][index]
        return DecayedSums.of_events(user, self.states.users, time, np.ones(len(index)), values[index], half_life)

    def _of_items(self, matrix: Matrix, kept: NDArray[np.bool_], weight: Floats, half_life: float) -> DecayedSums:
        index = np.flatnonzero(kept)
        user, time = self.states.user[index], self.states.rows["time"][index]
        return DecayedSums.of_items(user, self.row[index], self.states.users, time, weight[index], matrix, half_life)


def _masses(catalogue: Catalogue) -> Floats:
    has_category = np.diff(catalogue.categories.indptr) > 0
    return np.column_stack([catalogue.has_vector, has_category, catalogue.brand >= 0]).astype(np.float64)


def _price_moments(states: UserStates, rows: _Rows, catalogue: Catalogue, half_life: float) -> DecayedSums:
    """(U, 3) Σw, Σw·ln p, Σw·(ln p)² with the price paid, else the item's price today.

    What a user looks at or pays for shows their price level whether they liked it or not: the weight is the evidence.
    """
    price = np.append(catalogue.price, np.nan)[rows.row]
    kept = (price > 0) & (states.rows["unpriced"] > 0)
    log = np.log(np.where(kept, price, 1.0))
    moments = states.rows["unpriced"][:, None] * np.column_stack([np.ones(len(log)), log, log**2])
    paid = states.totals["paid"]
    reference = np.where(paid[:, 0] > 0, states.totals["reference"], EMPTY)
    return rows.plain(moments, kept, half_life).merged(DecayedSums(half_life, reference, paid))
