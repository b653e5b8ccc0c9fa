"""Behaviour statistics: what a user did in the last hour, day, week and month before a time, by event time."""

import numpy as np
from numpy.typing import NDArray

from feature_repo.names import BEHAVIOUR_FEATURES
from services.core.types import WINDOWS, EventType
from services.profiles.events import EventBatch

Floats = NDArray[np.float64]

COUNTED_TYPES: dict[str, EventType] = {
    "views": EventType.VIEW,
    "clicks": EventType.CLICK,
    "favourites": EventType.FAVOURITE,
    "carts": EventType.CART,
    "purchases": EventType.PURCHASE,
    "searches": EventType.SEARCH,
    "reviews": EventType.REVIEW,
}


def behaviour(events: EventBatch, as_of: float) -> NDArray[np.float32]:
    """(U, F) float32 in the order of `names.BEHAVIOUR_FEATURES`, NaN where undefined.

    An event belongs to a window when 0 ≤ as_of − time < window. Depth and click position are means over the longest
    window; ratings (mean and population deviation) and sentiment are over all events.
    """
    found = dict(_windows(events, as_of))
    recent = as_of - events.time < max(WINDOWS.values())
    found["depth_mean"], _ = _mean_and_deviation(events, events.depth, recent & events.is_type(EventType.VIEW))
    clicked = recent & events.is_type(EventType.CLICK)
    found["click_position_mean"], _ = _mean_and_deviation(events, events.position, clicked)
    judged = events.is_type(EventType.RATING, EventType.REVIEW)
    found["rating_mean"], found["rating_std"] = _mean_and_deviation(events, events.rating, judged)
    found["sentiment_mean"], _ = _mean_and_deviation(events, events.sentiment, judged)
    return np.column_stack([found[name] for name in BEHAVIOUR_FEATURES]).astype(np.float32)


def _windows(events: EventBatch, as_of: float) -> list[tuple[str, Floats]]:
    age = as_of - events.time
    dwell = np.nan_to_num(events.dwell_ms) * events.is_type(EventType.VIEW)
    kinds = {name: events.is_type(kind) for name, kind in COUNTED_TYPES.items()}
    result = []
    for window, seconds in WINDOWS.items():
        inside = age < seconds
        user = events.user[inside]
        result.append((f"dwell_ms_{window}", np.bincount(user, dwell[inside], events.users)))
        for name, of_kind in kinds.items():
            result.append((f"{name}_{window}", np.bincount(user, of_kind[inside], events.users)))
    return result


def _mean_and_deviation(events: EventBatch, values: Floats, kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Per user mean and population standard deviation of the kept values; NaN without one."""
    kept = kept & ~np.isnan(values)
    user, value = events.user[kept], values[kept]
    count = np.bincount(user, minlength=events.users)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(user, value, events.users) / count
        square = np.bincount(user, (value - mean[user]) ** 2, events.users) / count
    return mean, np.sqrt(square)
