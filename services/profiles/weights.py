"""The weight of an event: importance · quality · debias · decay / (1 + ln(1 + n)).

A rating is centred on the user's mean, which moves with every new rating. So that sums of weights stay mergeable,
a weight is kept as two numbers that do not depend on the mean: `b = constant − mean · slope`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.events import TYPES, EventBatch
from services.profiles.ranked import SparseRows
from services.profiles.reference import ReferenceStatistics

Floats = NDArray[np.float64]


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
    already: Floats | float = 0.0,
) -> BaseWeights:
    """Everything of the weight but its decay, for every event of a batch.

    `already` (m,): how many events that count, whose weight is not 0, the user had on the same item before those of
    the batch.
    """
    importance = np.array([reference.importance_of(name) for name in TYPES] + [0.0])[events.type]
    importance = np.where(events.item >= 0, importance, 0.0)
    worth = (
        importance
        * dwell_quality(events.dwell_ms, item_dwell_medians(catalogue, reference)[events.row])
        * depth_quality(events.depth)
        * np.where(events.is_type(EventType.CLICK), debias(events.position, reference, config.max_debias), 1.0)
    )
    strength = worth / (1.0 + np.log1p(already + earlier_events(events, worth != 0.0)))
    constant, slope = opinion(events)
    return BaseWeights(constant=strength * constant, slope=strength * slope, evidence=np.abs(strength))


def dwell_quality(dwell_ms: Floats, median_ms: Floats) -> Floats:
    """2x / (1 + x) with x = dwell / the category's median: 1 at the median, never above 2; 1 where unknown."""
    x = dwell_ms / median_ms
    return np.where(np.isnan(dwell_ms), 1.0, 2.0 * x / (1.0 + x))


def depth_quality(depth: Floats) -> Floats:
    """½ + depth, the share of the page that was seen: from ½ to 1½; 1 where unknown."""
    return np.where(np.isnan(depth), 1.0, 0.5 + depth)


def debias(position: Floats, reference: ReferenceStatistics, cap: float) -> Floats:
    """Inverse propensity 1 / P(examined | position), at most `cap` (Joachims et al. 2017); 1 where unknown."""
    return np.minimum(1.0 / np.maximum(reference.examination_at(position), 1e-9), cap)


def opinion(events: EventBatch) -> tuple[Floats, Floats]:
    """Quality of ratings and reviews as `constant − mean · slope`: 1 and 0 for every other event.

    A rating r has ½ + (r − mean) / 2: an average rating counts half, each star above or below moves it by half. A
    review's text has ½ + sentiment. A review with both takes their mean; with neither it counts half.
    """
    judged = events.is_type(EventType.RATING, EventType.REVIEW)
    rated = judged & ~np.isnan(events.rating)
    felt = judged & ~np.isnan(events.sentiment)
    sources = np.maximum(rated.astype(np.float64) + felt, 1.0)
    constant = np.where(judged, 0.5, 1.0)
    constant = constant + np.where(rated, events.rating / 2.0, 0.0) / sources
    constant = constant + np.where(felt, events.sentiment, 0.0) / sources
    return constant, np.where(rated, 0.5, 0.0) / sources


def mean_ratings(count: Floats, total: Floats, config: ProfileConfig) -> Floats:
    """Each user's mean rating from its two sums, drawn towards the prior mean where there are few ratings."""
    prior = config.rating_prior_count
    return (total + prior * config.rating_prior_mean) / (count + prior)


def earlier_events(events: EventBatch, counted: NDArray[np.bool_]) -> Floats:
    """(m,) how many earlier counted events the user has on the same item."""
    earlier = np.zeros(events.count)
    index = np.flatnonzero(counted & (events.item >= 0))
    key = events.user[index] * len(events.item_ids) + events.item[index]
    order = np.argsort(key, kind="stable")
    key = key[order]
    first = np.searchsorted(key, key)
    earlier[index[order]] = np.arange(len(key)) - first
    return earlier


def decay(age: Floats, half_life: float) -> Floats:
    """2^(−age / half-life); ages and half-life in seconds."""
    return np.exp2(-age / half_life)


def item_dwell_medians(catalogue: Catalogue, reference: ReferenceStatistics) -> Floats:
    """(n + 1,) median dwell of each item's deepest category that has one, else the shop's; the last for index −1."""
    medians = np.full(catalogue.count + 1, reference.dwell_median_default)
    known = reference.aligned("dwell_median_ms", catalogue.category_names, np.nan)
    pairs = SparseRows.of(catalogue.categories)
    pairs = pairs.where(~np.isnan(known[pairs.columns]))
    rows, codes = pairs.row(), pairs.columns
    order = np.lexsort((codes, catalogue.category_level[codes], rows))
    medians[rows[order]] = known[codes[order]]  # the deepest is written last
    return medians
