"""The decayed sums of a portrait, read out of the users' states against the catalogue of the day.

A state keeps Σ w · 2^(−(t − t_e) / H) per user and item as of the newest event on the item (`services.profiles.state`).
A sum over items is those numbers brought to one time, t → t' multiplying by 2^(−(t' − t) / H), times what the catalogue
says of each item.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read, written
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.items import HeldItems
from services.profiles.ranked import SparseRows
from services.profiles.state import ITEM_ROW, NEVER, TOTALS, UserStates

Codes = NDArray[np.int32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = NDArray[np.float32]
Rows = NDArray[np.void]

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


def profile_sums(
    states: UserStates, held: HeldItems, mean_rating: Floats, catalogue: Catalogue, config: ProfileConfig
) -> ProfileSums:
    """The sums of the users' states over what the catalogue says of the items that they hold."""
    users, dimension = states.users, catalogue.vectors.shape[1]
    long_term, short_term = np.zeros((users, dimension), np.float32), np.zeros((users, dimension), np.float32)
    mass, evidence, price = np.zeros((users, len(MASSES))), np.zeros(users), states.totals["paid"].copy()
    category_starts, category_codes = catalogue.category_codes
    _add_up(
        *(states.rows, states.totals, mean_rating, held.user, held.row, held.weight),
        *(np.ascontiguousarray(catalogue.vectors), catalogue.has_vector, category_starts, catalogue.brand),
        *(catalogue.price, config.long_half_life, config.short_half_life),
        *(long_term, short_term, mass, evidence, price),
    )
    by = held.user, held.row, held.weight, users
    return ProfileSums(
        reference=states.totals["reference"],
        mean_rating=mean_rating,
        long_term=long_term,
        short_term=short_term,
        categories=SparseRows(*_by_code(*by, category_starts, category_codes, len(catalogue.category_names))),
        brands=SparseRows(*_by_code(*by, *catalogue.brand_codes, len(catalogue.brand_names))),
        mass=mass,
        evidence=evidence,
        price=price,
    )


@native(
    *(read(ITEM_ROW), read(TOTALS), read(np.float64), read(np.int64), read(np.int64), read(np.float64)),
    *(read(np.float32, 2), read(np.bool_), read(np.int32), read(np.int32)),
    *(read(np.float64), np.float64, np.float64),
    *(written(np.float32, 2), written(np.float32, 2)),
    *(written(np.float64, 2), written(np.float64), written(np.float64, 2)),
)
def _add_up(
    rows: Rows,
    totals: Rows,
    mean_rating: Floats,
    user: Ints,
    item: Ints,
    weight: Floats,
    vectors: Matrix,
    has_vector: NDArray[np.bool_],
    category_starts: Codes,
    brand: Codes,
    listed_price: Floats,
    long_half_life: float,
    short_half_life: float,
    long_term: Matrix,
    short_term: Matrix,
    mass: Floats,
    evidence: Floats,
    price: Floats,
) -> None:
    """Add to the last five, which are of `ProfileSums`, what the users hold.

    `user`, `item` (row of the catalogue) and `weight` are of `HeldItems`, in the order of the `rows` with events that
    say anything. What a user looks at shows their price level whether they liked it or not: its weight in `price`, of
    events without a price of their own, is the evidence.
    """
    newest = np.full(len(totals), NEVER)
    at = 0
    for row in rows:
        if row.count:
            if item[at] >= 0 and has_vector[item[at]]:
                newest[user[at]] = max(newest[user[at]], row.time)
            at += 1
    at = -1
    for row in rows:
        if not row.count:
            continue
        at += 1
        who, what = user[at], item[at]
        fading = np.exp2((row.time - totals[who].reference) / long_half_life)
        evidence[who] += row.evidence * fading
        if what < 0:
            continue
        if listed_price[what] > 0 and row.unpriced > 0:
            unpriced, log = row.unpriced * fading, np.log(listed_price[what])
            price[who, 0] += unpriced
            price[who, 1] += unpriced * log
            price[who, 2] += unpriced * log * log
        net = weight[at] - row.hides * fading  # of hides alone exactly 0: nothing here may be fused or reassociated
        if category_starts[what + 1] > category_starts[what]:
            mass[who, 1] += net
        if brand[what] >= 0:
            mass[who, 2] += net
        if not has_vector[what]:
            continue
        mass[who, 0] += net
        age, mean = newest[who] - row.time, mean_rating[who]
        long = np.float32((row.long - mean * row.long_slope) * np.exp2(-age / long_half_life))
        short = np.float32((row.short - mean * row.short_slope) * np.exp2(-age / short_half_life))
        vector, long_sum, short_sum = vectors[what], long_term[who], short_term[who]
        for k in range(len(vector)):
            long_sum[k] += long * vector[k]
            short_sum[k] += short * vector[k]


@native(
    *(read(np.int64), read(np.int64), read(np.float64), np.int64),
    *(read(np.int32), read(np.int32), np.int64),
)
def _by_code(
    row: Ints, item: Ints, weight: Floats, rows: int, starts: Codes, codes: Codes, width: int
) -> tuple[Ints, Ints, Floats]:
    """Sparse rows (rows, width): sums of the weights of the items in each by the codes that an item has.

    `row` is in ascending order, an `item` below 0 has no codes; `starts`, `codes` as `Catalogue.category_codes`.
    """
    most = 0
    for what in item:
        if what >= 0:
            most += starts[what + 1] - starts[what]
    indptr, columns, sums = np.zeros(rows + 1, np.int64), np.empty(most, np.int64), np.empty(most)
    place = np.full(width, -1)  # of each code, if it is in this row
    at = end = 0
    for into in range(rows):
        first = end
        while at < len(row) and row[at] == into:
            if item[at] >= 0:
                for code in codes[starts[item[at]] : starts[item[at] + 1]]:
                    if place[code] < first:
                        place[code], columns[end], sums[end] = end, code, 0.0
                        end += 1
                    sums[place[code]] += weight[at]
            at += 1
        indptr[into + 1] = end
    return indptr, columns[:end], sums[:end]
