"""What a user holds: one row per user and item, with its weight and the event that says most about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.state import UserStates
from services.profiles.weights import decay

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
    index = np.flatnonzero(states.rows["count"] > 0)
    user, rows = states.user[index], states.rows[index]
    weight = rows["long"] - mean_rating[user] * rows["long_slope"]
    return HeldItems(
        user=user,
        item=states.item[index],
        row=catalogue.indices(states.item_ids)[states.item[index]],
        weight=weight * decay(states.totals["reference"][user] - rows["time"], config.long_half_life),
        time=rows["time"],
        type=rows["type"],
    )


def listed(states: UserStates, moment: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(users, item codes): the items that were ever `bought` or `hid`, by user, newest first, then by item id."""
    index = np.flatnonzero(np.isfinite(states.rows[moment]))
    index = index[np.lexsort((states.item[index], -states.rows[moment][index], states.user[index]))]
    return states.user[index], states.item[index]
