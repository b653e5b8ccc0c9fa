"""The decayed sums of a portrait, read out of the users' states against the catalogue of the day.

A state keeps Σ w · 2^(−(t − t_e) / H) per user and item as of the newest event on the item (`services.profiles.state`).
A sum over items is those numbers brought to one time, t → t' multiplying by 2^(−(t' − t) / H), times what the catalogue
says of each item: one sparse product of (users × items) by (items × k).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.ranked import SparseRows, row_starts
from services.profiles.state import NEVER, UserStates
from services.profiles.weights import decay, mean_ratings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MASSES = ("vector", "category", "brand")
"""Columns of `ProfileSums.mass`: net weight of the events on items that have a vector, a category, a brand; hides,
whose importance is negative, are left out."""


@dataclass(frozen=True)
class ProfileSums:
    """The sums of U users, each as of `reference`, the time of the user's newest event that says anything.

    `long_term`, `short_term` (U, D): sums of item vectors, as of the newest event on an item that has one: however old
    those are, nothing underflows. `categories` (U, C), `brands` (U, B): net weight by name; `mass` (U, 3) of `MASSES`.
    `evidence` (U,): unsigned weight of everything. `price` (U, 3): Σw, Σw·ln p, Σw·(ln p)². Weights are centred on each
    user's `mean_rating` (U,), which is drawn towards the prior. −inf and zeros without an event.
    """

    reference: Floats
    mean_rating: Floats
    long_term: NDArray[np.float32]
    short_term: NDArray[np.float32]
    categories: SparseRows
    brands: SparseRows
    mass: Floats
    evidence: Floats
    price: Floats


def profile_sums(states: UserStates, catalogue: Catalogue, config: ProfileConfig) -> ProfileSums:
    """The sums of the users' states over what the catalogue says of their items."""
    held = _Held.by(states, catalogue, config)
    known = held.of(held.row >= 0)
    fading = known.fading()
    weight = known.weight("long") * fading
    return ProfileSums(
        reference=held.reference,
        mean_rating=held.mean,
        **_vectors(known, catalogue, config),
        categories=SparseRows.of(known.matrix(weight, catalogue.count) @ catalogue.categories),
        brands=by_brand(known.user, known.row, weight, catalogue, states.users),
        mass=_mass(known, weight - known.rows["hides"] * fading, catalogue),
        evidence=held.total(held.rows["evidence"] * held.fading()),
        price=_price(held, catalogue, states),
    )


@dataclass(frozen=True)
class _Held:
    """Rows of users' items that say anything, by user; `row` is that of the catalogue, −1 for an unknown item."""

    user: Ints
    rows: NDArray[np.void]
    row: Ints
    mean: Floats
    reference: Floats
    config: ProfileConfig

    @classmethod
    def by(cls, states: UserStates, catalogue: Catalogue, config: ProfileConfig) -> "_Held":
        """All such rows of the states."""
        said = np.flatnonzero(states.rows["count"] > 0)
        return cls(
            user=states.user[said],
            rows=states.rows[said],
            row=catalogue.indices(states.item_ids)[states.item[said]],
            mean=mean_ratings(*states.mean_rating_sums(), config),
            reference=states.totals["reference"],
            config=config,
        )

    @property
    def users(self) -> int:
        return len(self.reference)

    def of(self, kept: NDArray[np.bool_]) -> "_Held":
        """Some of the rows."""
        return replace(self, user=self.user[kept], rows=self.rows[kept], row=self.row[kept])

    def weight(self, name: str) -> Floats:
        """Weights as of each row's own time, centred on the users' mean ratings."""
        return self.rows[name] - self.mean[self.user] * self.rows[f"{name}_slope"]

    def fading(self) -> Floats:
        """What brings the long-term sums to the users' `reference`."""
        return decay(self.reference[self.user] - self.rows["time"], self.config.long_half_life)

    def total(self, values: Floats) -> Floats:
        """(U,) sums by user."""
        return np.bincount(self.user, values, self.users)

    def matrix(self, weight: NDArray, items: int) -> sparse.csr_array:
        """(U, items) of the weights."""
        return sparse.csr_array((weight, self.row, row_starts(self.user, self.users)), shape=(self.users, items))


def _vectors(known: _Held, catalogue: Catalogue, config: ProfileConfig) -> dict[str, NDArray[np.float32]]:
    held = known.of(catalogue.has_vector[known.row])
    newest = np.full(held.users, NEVER)
    np.maximum.at(newest, held.user, held.rows["time"])
    age = newest[held.user] - held.rows["time"]
    starts = row_starts(held.user, held.users)
    weights = [
        held.weight(name) * decay(age, half)
        for name, half in (("long", config.long_half_life), ("short", config.short_half_life))
    ]
    both = sparse.csr_array(  # the users twice: with the long-term and with the short-term weights
        (
            np.concatenate(weights, dtype=np.float32),
            np.tile(held.row, 2),
            np.concatenate([starts, starts[1:] + starts[-1]]),
        ),
        shape=(2 * held.users, catalogue.count),
    )
    sums = both @ catalogue.vectors
    return {"long_term": sums[: held.users], "short_term": sums[held.users :]}


def by_brand(row: Ints, item: Ints, weight: Floats, catalogue: Catalogue, rows: int) -> SparseRows:
    """(rows, B) sums of weights by row and the brand of the item, a row of the catalogue."""
    brand = catalogue.brand[item].astype(np.int64)
    branded = brand >= 0
    return SparseRows.summed(row[branded], brand[branded], weight[branded], rows)


def _mass(known: _Held, weight: Floats, catalogue: Catalogue) -> Floats:
    has_category = np.diff(catalogue.categories.indptr) > 0
    of_items = (catalogue.has_vector, has_category, catalogue.brand >= 0)
    return np.column_stack([known.total(weight * has[known.row]) for has in of_items])


def _price(held: _Held, catalogue: Catalogue, states: UserStates) -> Floats:
    """(U, 3) Σw, Σw·ln p, Σw·(ln p)² with the price paid, else the item's price today.

    What a user looks at or pays for shows their price level whether they liked it or not: the weight is the evidence.
    """
    price = np.append(catalogue.price, np.nan)[held.row]
    kept = (price > 0) & (held.rows["unpriced"] > 0)
    priced, log = held.of(kept), np.log(price[kept])
    weight = priced.rows["unpriced"] * priced.fading()
    listed = np.column_stack([priced.total(weight * log**power) for power in range(3)])
    return states.totals["paid"] + listed
