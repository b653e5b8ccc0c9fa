"""What a user holds: one row per user and item, with its weight and the event that says most about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.profiles.config import ProfileConfig
from services.profiles.events import EventBatch
from services.profiles.weights import decay

OWNING = (EventType.PURCHASE, EventType.RATING, EventType.REVIEW)
"""Who rates or reviews an item has it: these count as bought."""


@dataclass(frozen=True)
class HeldItems:
    """h rows ordered by user, then item.

    `item` codes into the batch's `item_ids`; `row` into the catalogue, −1 for an item it does not hold; `weight` summed
    over the user's events on the item, as of the user's newest event; `last` the index of the newest of them in the
    batch, so that larger is newer; `type` that of the event with the largest weight before decay, the later of equals.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    row: NDArray[np.int64]
    weight: NDArray[np.float64]
    last: NDArray[np.int64]
    type: NDArray[np.int8]


def held_items(
    events: EventBatch,
    signed: NDArray[np.float64],
    counted: NDArray[np.bool_],
    reference: NDArray[np.float64],
    config: ProfileConfig,
) -> HeldItems:
    """Group the events that say anything by user and item.

    `signed` (m,) weights before decay; `counted` (m,) leaves impressions out; `reference` (U,) the time the weights
    are as of, in epoch seconds.
    """
    index = np.flatnonzero(counted & (events.item >= 0))
    key = events.user[index] * len(events.item_ids) + events.item[index]
    order = np.argsort(key, kind="stable")
    index, key = index[order], key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    last = np.append(first[1:], len(key))[: len(first)] - 1
    user = events.user[index]
    faded = signed[index] * decay(reference[user] - events.time[index], config.long_half_life)
    by_strength = np.lexsort((np.arange(len(key)), np.abs(signed[index]), key))
    strongest = index[by_strength[last]]
    start = index[first]
    return HeldItems(
        user=events.user[start],
        item=events.item[start],
        row=events.row[start],
        weight=np.add.reduceat(faded, first) if len(key) else faded,
        last=index[last],
        type=events.type[strongest],
    )


def listed(events: EventBatch, types: tuple[EventType, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(users, item codes): the distinct items a user has events of these types on, by user, newest first."""
    index = np.flatnonzero(events.is_type(*types) & (events.item >= 0))[::-1]
    _, newest = np.unique(events.user[index] * len(events.item_ids) + events.item[index], return_index=True)
    index = index[newest]
    index = index[np.lexsort((-index, events.user[index]))]
    return events.user[index], events.item[index]
