"""User × item features: the one function that serving and training both call.

Every feature is 0 where nothing is known, at least 0 where it can only speak for an item, and never NaN.
"""

import math

import numpy as np
from numpy.typing import NDArray

from feature_repo.names import ENGAGEMENT_LEVELS
from services.features.portrait_view import PortraitView
from services.features.snapshot import ItemSnapshot

FEATURES: tuple[str, ...] = (
    "long_term_cosine",
    "short_term_cosine",
    "interest_cosine",
    "query_cosine",
    "category_affinity",
    "brand_affinity",
    "price_fit",
    "item_to_item",
    "neighbour_score",
    "retrieval_score",
    "recency",
    "popularity",
    "trend",
    "click_rate",
    "purchase_rate",
    "rating",
    "sentiment",
    "freshness",
    "available",
    "confidence",
    "last_cosine",
    "last_item_to_item",
    "history",
)
"""Columns of `user_item_features`, in order (docs/features.md describes each)."""

COLUMN: dict[str, int] = {name: position for position, name in enumerate(FEATURES)}

ALL = frozenset(FEATURES)
COSINES = ("long_term_cosine", "short_term_cosine", "last_cosine", "interest_cosine")
AFFINITIES = ("category_affinity", "brand_affinity", "price_fit")
ENGAGED = ("popularity", "trend", "click_rate", "purchase_rate", "rating", "sentiment")

FRESHNESS_HALF_LIFE_S = 30 * 86_400.0
RECENCY_HALF_LIFE_S = 7 * 86_400.0
TREND_CEILING = 8.0
"""An engagement this many times the expected one counts as the full trend."""
RATING_PRIOR_COUNT = 5.0
"""Ratings of the neutral value 3 that every item is given beforehand."""

LOG_HISTORY = math.log1p(50)
"""Of the most items a portrait remembers."""

_ENGAGEMENT = {name: position for position, name in enumerate(ENGAGEMENT_LEVELS)}

FloatArray = NDArray[np.float32]


def user_item_features(
    view: PortraitView,
    snapshot: ItemSnapshot,
    indices: NDArray[np.int32],
    retrieval: FloatArray | None,
    now: float,
    query: FloatArray | None = None,
    wanted: frozenset[str] | None = None,
) -> FloatArray:
    """The features of one user with each of some items.

    Args:
        view: the user's portrait in this snapshot's numbers.
        snapshot: the items.
        indices: int32 (n,), items of the snapshot.
        retrieval: float32 (n,), how strongly retrieval proposed each item, 0–1; None: 0 for all.
        now: epoch seconds that ages are measured from.
        query: float32 (n,), cosine of each item with a learned query vector; None: 0 for all.
        wanted: features that are looked at, None for all: the others may be 0.

    Returns:
        float32 (n, len(FEATURES)), finite.
    """
    features = np.zeros((indices.size, len(FEATURES)), np.float32, order="F")
    if not indices.size:
        return features
    looked_at = ALL if wanted is None else wanted
    if not looked_at.isdisjoint(COSINES):
        _cosines(features, view, snapshot, indices, looked_at)
    if not looked_at.isdisjoint(AFFINITIES):
        _affinities(features, view, snapshot, indices)
    for name, scores in (
        ("item_to_item", view.item_to_item),
        ("neighbour_score", view.neighbour_items),
        ("last_item_to_item", view.last_item_to_item),
    ):
        if name in looked_at:
            features[:, COLUMN[name]] = scores.of(indices)
    if query is not None:
        features[:, COLUMN["query_cosine"]] = query
    if retrieval is not None:
        features[:, COLUMN["retrieval_score"]] = retrieval
    if "recency" in looked_at:
        features[:, COLUMN["recency"]] = _recency(view, indices, now)
    if not looked_at.isdisjoint(ENGAGED):
        _engagement(features, snapshot, indices, looked_at)
    if "freshness" in looked_at:
        features[:, COLUMN["freshness"]] = _freshness(snapshot, indices, now)
    features[:, COLUMN["available"]] = snapshot.available[indices]
    features[:, COLUMN["confidence"]] = view.confidence
    features[:, COLUMN["history"]] = math.log1p(view.history) / LOG_HISTORY
    return features


def _cosines(
    features: FloatArray,
    view: PortraitView,
    snapshot: ItemSnapshot,
    indices: NDArray[np.int32],
    wanted: frozenset[str],
) -> None:
    """Cosines with those of the user's vectors that are wanted; with the interests the greatest, at least 0."""
    names = [name for name in COSINES[:3] if name in wanted]
    vectors = dict(zip(COSINES, (view.long_term, view.short_term, view.last), strict=False))
    interests = view.interests if COSINES[3] in wanted else view.interests[:0]
    queries = np.concatenate((*(vectors[name][None] for name in names), interests))
    cosines = snapshot.vectors.dot(indices, queries)
    for place, name in enumerate(names):
        features[:, COLUMN[name]] = cosines[:, place]
    features[:, COLUMN[COSINES[3]]] = cosines[:, len(names) :].max(axis=1, initial=0)


def _affinities(features: FloatArray, view: PortraitView, snapshot: ItemSnapshot, indices: NDArray[np.int32]) -> None:
    """The heaviest of the item's categories, its brand, and how near its price is to the user's level.

    `price_fit` = exp(−d² / 2) where d is the distance of the logarithms in half widths of the user's 10–90% band.
    """
    category = view.category_weight[snapshot.categories_padded[indices]]
    features[:, COLUMN["category_affinity"]] = category.max(axis=1, initial=0)
    features[:, COLUMN["brand_affinity"]] = view.brand_weight[snapshot.brand[indices]]
    if math.isnan(view.log_price):
        return
    price = snapshot.price[indices]
    known = price > 0
    distance = (np.log(price, where=known, out=np.zeros_like(price)) - view.log_price) / view.price_width
    features[:, COLUMN["price_fit"]] = np.exp(-0.5 * distance * distance) * known


def _recency(view: PortraitView, indices: NDArray[np.int32], now: float) -> FloatArray:
    """2^(−age / 7 days) of the user's last engagement with the item, 0 without one."""
    decayed = np.exp2(np.maximum(now - view.engaged_times, 0) * (-1 / RECENCY_HALF_LIFE_S))
    if not view.engaged.size:
        return np.zeros(indices.size, np.float32)
    at = np.searchsorted(view.engaged, indices)
    at[at == view.engaged.size] = 0
    return np.where(view.engaged[at] == indices, decayed[at], 0).astype(np.float32)


def _engagement(
    features: FloatArray, snapshot: ItemSnapshot, indices: NDArray[np.int32], wanted: frozenset[str]
) -> None:
    """Popularity and rates as they are; trend and rating on scales where 0 is "as expected"."""
    values = np.nan_to_num(snapshot.engagement.take(indices, axis=0), copy=False)
    for name in ("popularity", "click_rate", "purchase_rate"):
        features[:, COLUMN[name]] = values[:, _ENGAGEMENT[name]]
    features[:, COLUMN["sentiment"]] = values[:, _ENGAGEMENT["sentiment_mean"]]
    if "trend" in wanted:
        trend = np.clip(values[:, _ENGAGEMENT["trend"]], 1, TREND_CEILING)
        features[:, COLUMN["trend"]] = np.log(trend) / math.log(TREND_CEILING)
    count, mean = values[:, _ENGAGEMENT["rating_count"]], values[:, _ENGAGEMENT["rating_mean"]]
    features[:, COLUMN["rating"]] = (mean - 3) / 2 * count / (count + RATING_PRIOR_COUNT)


def _freshness(snapshot: ItemSnapshot, indices: NDArray[np.int32], now: float) -> FloatArray:
    """2^(−age / 30 days) since publication, 0 where it is not known."""
    age = np.maximum(now - snapshot.published_at[indices], 0)
    return np.nan_to_num(np.exp2(age * (-1 / FRESHNESS_HALF_LIFE_S))).astype(np.float32)
