"""What a user holds: one row per user and item, with its weight and the event that says most about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.state import ITEM_ROW, TOTALS, UserStates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.void]

OWNING = (EventType.PURCHASE, EventType.RATING, EventType.REVIEW)
"""Who rates or reviews an item has it: these count as bought."""


@dataclass(frozen=True)
class HeldItems:
    """h rows ordered by user, then item.

    `item` codes into the states' `item_ids`; `row` into the catalogue, −1 for an item it does not hold; `weight` summed
    over the user's events on the item, as of the user's newest event that says anything; `time` of the newest of them
    (epoch s); `type` that of the event that says most, whichever way it points.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    row: NDArray[np.int64]
    weight: NDArray[np.float64]
    time: NDArray[np.float64]
    type: NDArray[np.int32]


def held_items(
    states: UserStates, catalogue: Catalogue, mean_rating: NDArray[np.float64], config: ProfileConfig
) -> HeldItems:
    """The items with events that say anything. `mean_rating` (U,) is each user's."""
    rows = catalogue.indices(states.item_ids)
    found = _held(states.user, states.item, states.rows, states.totals, rows, mean_rating, config.long_half_life)
    return HeldItems(*found)


@native(
    *(read(np.int64), read(np.int64), read(ITEM_ROW), read(TOTALS)),
    *(read(np.int64), read(np.float64), np.float64),
)
def _held(
    user: Ints, item: Ints, rows: Rows, totals: Rows, catalogue_row: Ints, mean_rating: Floats, half_life: float
) -> tuple[Ints, Ints, Ints, Floats, Floats, NDArray[np.int32]]:
    """The fields of `HeldItems` from those of the states; `catalogue_row` is by item code."""
    size = len(rows)
    held_user, held_item, held_row = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    weight, time, type_ = np.empty(size), np.empty(size), np.empty(size, np.int32)
    count = 0
    for at in range(size):
        row = rows[at]
        if row.count:
            held_user[count], held_item[count], held_row[count] = user[at], item[at], catalogue_row[item[at]]
            age = totals[user[at]].reference - row.time
            weight[count] = (row.long - mean_rating[user[at]] * row.long_slope) * np.exp2(-age / half_life)
            time[count], type_[count] = row.time, row.type
            count += 1
    places = held_user[:count], held_item[:count], held_row[:count]
    return *places, weight[:count], time[:count], type_[:count]


def listed(states: UserStates, moment: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(users, item codes): the items that were ever `bought` or `hid`, by user, newest first, then by item id."""
    index = np.flatnonzero(np.isfinite(states.rows[moment]))
    index = index[np.lexsort((states.item[index], -states.rows[moment][index], states.user[index]))]
    return states.user[index], states.item[index]
