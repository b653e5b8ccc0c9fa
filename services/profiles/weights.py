"""The weight of an event: importance · quality · debias · decay / (1 + ln(1 + n)).

A rating is centred on the user's mean, which moves with every new rating. So that sums of weights stay mergeable,
a weight is kept as two numbers that do not depend on the mean: `b = constant − mean · slope`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.events import TYPES, EventBatch, one_of
from services.profiles.reference import ReferenceStatistics

Codes = NDArray[np.int32]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BaseWeights:
    """Weights (m,) before decay: `constant − mean · slope` for a user whose mean rating is `mean`.

    `evidence` (m,) is how much the event tells, whichever way it points: the weight with the sign and the rating's
    and sentiment's quality left out.
    """

    constant: Floats
    slope: Floats
    evidence: Floats

    def signed(self, mean_rating: Floats) -> Floats:
        """(m,) weights before decay; `mean_rating` (m,) is the mean rating of each event's user."""
        return self.constant - mean_rating * self.slope


def base_weights(
    events: EventBatch,
    catalogue: Catalogue,
    reference: ReferenceStatistics,
    config: ProfileConfig,
    order: Ints | None = None,
    already: Ints | None = None,
) -> BaseWeights:
    """Everything of the weight but its decay, for every event of a batch.

    `order` is that of `by_item`, where it is known; `already` (m,): how many events that count, whose weight is not 0,
    the user had on the same item before those of the batch.
    """
    if order is None:
        order = by_item(events.user, events.item, events.users, len(events.item_ids))
    found = _weights(
        order,
        np.zeros(events.count, np.int64) if already is None else already,
        *(events.user, events.item, events.row, events.type),
        *(events.position, events.dwell_ms, events.depth, events.rating, events.sentiment),
        np.array([*map(reference.importance_of, TYPES), 0.0]),
        one_of(EventType.CLICK),
        one_of(EventType.RATING, EventType.REVIEW),
        np.array(reference.examination),
        config.max_debias,
        *catalogue.category_codes,
        catalogue.category_level,
        reference.aligned("dwell_median_ms", catalogue.category_names, np.nan),
        reference.dwell_median_default,
    )
    return BaseWeights(*found)


@native()
def dwell_quality(dwell_ms: float, median_ms: float) -> float:
    """2x / (1 + x) with x = dwell / the category's median: 1 at the median, never above 2."""
    x = dwell_ms / median_ms
    return 2.0 * x / (1.0 + x)


@native()
def depth_quality(depth: float) -> float:
    """½ + depth, the share of the page that was seen: from ½ to 1½; 1 where unknown."""
    return 1.0 if np.isnan(depth) else 0.5 + depth


@native()
def debias(position: float, examination: Floats, cap: float) -> float:
    """Inverse propensity 1 / P(examined | position), at most `cap` (Joachims et al. 2017); 1 where unknown.

    `examination` (k,) by position from 0; what stands lower is examined like the last of them.
    """
    if not np.isfinite(position) or position < 0:
        return 1.0
    examined = examination[int(min(position, len(examination) - 1.0))]
    return min(1.0 / max(examined, 1e-9), cap)


@native()
def opinion(judged: bool, rating: float, sentiment: float) -> tuple[float, float]:
    """Quality of a rating or review as `constant − mean · slope`: 1 and 0 for every other event.

    A rating r has ½ + (r − mean) / 2: an average rating counts half, each star above or below moves it by half. A
    review's text has ½ + sentiment. A review with both takes their mean; with neither it counts half.
    """
    if not judged:
        return 1.0, 0.0
    rated, felt = not np.isnan(rating), not np.isnan(sentiment)
    sources = max(rated + felt, 1)
    constant = 0.5 + (rating / 2.0 if rated else 0.0) / sources + (sentiment if felt else 0.0) / sources
    return constant, (0.5 if rated else 0.0) / sources


@native()
def dwell_median(row: int, starts: Codes, categories: Codes, level: Floats, medians: Floats, default: float) -> float:
    """The median dwell of the deepest category of the item in a row that has one, else the shop's.

    `starts` (n + 1,) and `categories` are the catalogue's sparse rows; `level` (C,); `medians` (C,), NaN where unknown.
    """
    deepest, found = -1, default
    if row < 0:
        return found
    for category in categories[starts[row] : starts[row + 1]]:
        if np.isnan(medians[category]):
            continue
        if deepest < 0 or (level[category], category) > (level[deepest], deepest):
            deepest, found = category, medians[category]
    return found


@native(read(np.int64), read(np.int64), np.int64, np.int64)
def by_item(user: Ints, item: Ints, users: int, items: int) -> Ints:
    """(k,) the events on an item, by user, then item, then as they come: two counting sorts."""
    first = np.zeros(items + 1, np.int64)
    for at in range(len(item)):
        if item[at] >= 0:
            first[item[at] + 1] += 1
    first = np.cumsum(first)
    among = np.empty(first[items], np.int64)
    next_of_user = np.zeros(users + 1, np.int64)
    for at in range(len(item)):
        if item[at] >= 0:
            among[first[item[at]]] = at
            first[item[at]] += 1
            next_of_user[user[at] + 1] += 1
    next_of_user = np.cumsum(next_of_user)
    order = np.empty(len(among), np.int64)
    for at in among:
        order[next_of_user[user[at]]] = at
        next_of_user[user[at]] += 1
    return order


@native(
    *(read(np.int64), read(np.int64)),
    *(read(np.int64), read(np.int64), read(np.int64), read(np.int8)),
    *(read(np.float64), read(np.float64), read(np.float64), read(np.float64), read(np.float64)),
    *(read(np.float64), read(np.bool_), read(np.bool_), read(np.float64), np.float64),
    *(read(np.int32), read(np.int32), read(np.float64), read(np.float64), np.float64),
)
def _weights(
    order: Ints,
    already: Ints,
    user: Ints,
    item: Ints,
    row: Ints,
    type_: NDArray[np.int8],
    position: Floats,
    dwell_ms: Floats,
    depth: Floats,
    rating: Floats,
    sentiment: Floats,
    importance: Floats,
    clicked: Flags,
    judged: Flags,
    examination: Floats,
    cap: float,
    starts: Codes,
    categories: Codes,
    level: Floats,
    medians: Floats,
    default: float,
) -> tuple[Floats, Floats, Floats]:
    """The fields of `BaseWeights`. The events on items are in the `order` of `by_item`."""
    constant, slope, evidence = np.zeros(len(user)), np.zeros(len(user)), np.zeros(len(user))
    last, earlier = -1, 0
    for at in order:
        if last < 0 or user[at] != user[last] or item[at] != item[last]:
            earlier = already[at]
        last = at
        worth = importance[type_[at]] * depth_quality(depth[at])
        if not np.isnan(dwell_ms[at]):
            median = dwell_median(row[at], starts, categories, level, medians, default)
            worth *= dwell_quality(dwell_ms[at], median)
        if clicked[type_[at]]:
            worth *= debias(position[at], examination, cap)
        if worth != 0.0:
            strength = worth / (1.0 + np.log(1.0 + earlier)) if earlier else worth
            of_constant, of_slope = opinion(judged[type_[at]], rating[at], sentiment[at])
            constant[at], slope[at], evidence[at] = strength * of_constant, strength * of_slope, abs(strength)
            earlier += 1
    return constant, slope, evidence


def mean_ratings(count: Floats, total: Floats, config: ProfileConfig) -> Floats:
    """Each user's mean rating from its two sums, drawn towards the prior mean where there are few ratings."""
    prior = config.rating_prior_count
    return (total + prior * config.rating_prior_mean) / (count + prior)


def decay(age: Floats, half_life: float) -> Floats:
    """2^(−age / half-life); ages and half-life in seconds."""
    return np.exp2(-age / half_life)
