"""What portraits consist of, as arrays over some users: what objects, packed bytes and table rows are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.native import native
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles
from services.profiles.config import ProfileConfig
from services.profiles.items import listed
from services.profiles.naming import InterestNames
from services.profiles.near import Neighbours
from services.profiles.ranked import SparseRows, at_most, row_starts
from services.profiles.state import UserStates
from services.profiles.weights import decay

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankedInterests:
    """Entries of user u at `starts[u]:starts[u + 1]`: medoids as rows of the catalogue, shares of weight."""

    starts: Ints
    medoid: Ints
    weight: Floats
    names: InterestNames


@dataclass(frozen=True)
class Recent:
    """The newest items of each user, newest first, as `RankedInterests`: items as codes of the states, type as code,
    time in epoch s and weight as of `PortraitColumns.as_of`."""

    starts: Ints
    item: Ints
    type: Ints
    time: Floats
    weight: Floats


@dataclass(frozen=True)
class Listed:
    """Items of each user, as `Recent`."""

    starts: Ints
    item: Ints


@dataclass(frozen=True)
class PortraitColumns:
    """Portraits of U users as of `as_of` (epoch s), field by field as `services.features.portrait.Portrait` has them.

    `long_term` and `short_term` (U, D) have meaning where `has_vector` (U,). `price` (U, 3) is NaN where
    unknown. `near_users` and `near_items` are the `Neighbours` of each. `item_ids` are those that the states code.
    """

    user_ids: pa.Array
    as_of: float
    newest: Floats
    event_count: Ints
    confidence: Floats
    lifecycle: list[str]
    has_vector: NDArray[np.bool_]
    long_term: NDArray[np.float32]
    short_term: NDArray[np.float32]
    interests: RankedInterests
    categories: SparseRows
    brands: SparseRows
    price: Floats
    behaviour: NDArray[np.float32]
    recent: Recent
    bought: Listed
    hidden: Listed
    near_users: list[tuple[tuple[str, float], ...]]
    near_items: list[tuple[tuple[str, float], ...]]
    item_ids: pa.Array
    catalogue: Catalogue

    @property
    def users(self) -> int:
        return len(self.user_ids)


def portrait_columns(
    states: UserStates,
    parts: ChunkProfiles,
    neighbours: Sequence[Neighbours],
    catalogue: Catalogue,
    as_of: float,
    config: ProfileConfig,
) -> PortraitColumns:
    """The portraits of the states' users from their computed parts."""
    found, taste = parts.interests, parts.taste
    return PortraitColumns(
        user_ids=states.user_ids,
        as_of=as_of,
        newest=states.newest,
        event_count=states.totals["events"],
        confidence=parts.confidence.round(4),
        lifecycle=parts.lifecycle,
        has_vector=taste.has_vector,
        long_term=taste.long_term,
        short_term=taste.short_term,
        interests=RankedInterests(
            row_starts(found.user, states.users), found.medoid, found.weight.round(4), parts.interest_names
        ),
        categories=parts.affinities.categories,
        brands=parts.affinities.brands,
        price=parts.affinities.price.round(2),
        behaviour=np.where(np.isnan(parts.behaviour), np.float32(np.nan), parts.behaviour),  # of one kind
        recent=_recent(states, parts, as_of, config),
        bought=_listed(states, "bought", config),
        hidden=_listed(states, "hid", config),
        near_users=[near.users for near in neighbours],
        near_items=[near.items for near in neighbours],
        item_ids=states.item_ids,
        catalogue=catalogue,
    )


def _recent(states: UserStates, parts: ChunkProfiles, as_of: float, config: ProfileConfig) -> Recent:
    """The newest distinct items of each user, with weights as of `as_of`."""
    held = parts.taste.held
    times = np.ascontiguousarray(held.time)
    starts, order = newest_first(row_starts(held.user, states.users), times, config.recent_items)
    fading = decay(as_of - parts.taste.reference, config.long_half_life)
    weight = held.weight[order] * np.repeat(fading, np.diff(starts))
    return Recent(starts, held.item[order], held.type[order], times[order], weight.round(6))


@native("Tuple((int64[::1], int64[::1]))(int64[::1], float64[::1], int64)")
def newest_first(starts, times, count):
    """Of each row's times, at `starts[r]:starts[r + 1]`, the places of the `count` latest, latest first and of equal
    ones the first: (R + 1,) where each row's begin in them, and the places."""
    rows = len(starts) - 1
    begins = np.zeros(rows + 1, np.int64)
    for row in range(rows):
        begins[row + 1] = begins[row] + min(count, starts[row + 1] - starts[row])
    kept = np.empty(begins[rows], np.int64)
    for row in range(rows):
        first, held = begins[row], 0
        for place in range(starts[row], starts[row + 1]):
            if held < count:
                held += 1
            elif not count or not times[place] > times[kept[first + held - 1]]:
                continue
            at = first + held - 1
            while at > first and times[place] > times[kept[at - 1]]:
                kept[at] = kept[at - 1]
                at -= 1
            kept[at] = place
    return begins, kept


def _listed(states: UserStates, moment: str, config: ProfileConfig) -> Listed:
    user, item = listed(states, moment)
    kept = at_most(user, config.listed_items)
    return Listed(row_starts(user[kept], states.users), item[kept])
