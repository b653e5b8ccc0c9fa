"""Behaviour statistics: what a user did in the last hour, day, week and month before a time, by event time."""

import numpy as np
from numpy.typing import NDArray

from feature_repo.names import BEHAVIOUR_FEATURES
from services.core.types import WINDOWS, EventType
from services.profiles.events import CODE
from services.profiles.state import UserStates

Floats = NDArray[np.float64]

ROUNDING = 1e-12
"""A variance below this, of ratings from 1 to 5, is the rounding error of its two sums."""

COUNTED_TYPES: dict[str, EventType] = {
    "views": EventType.VIEW,
    "clicks": EventType.CLICK,
    "favourites": EventType.FAVOURITE,
    "carts": EventType.CART,
    "purchases": EventType.PURCHASE,
    "searches": EventType.SEARCH,
    "reviews": EventType.REVIEW,
}


def behaviour(states: UserStates, as_of: float) -> NDArray[np.float32]:
    """(U, F) float32 in the order of `names.BEHAVIOUR_FEATURES`, NaN where undefined.

    An event belongs to a window when as_of − time < window; one that is dated a little ahead is in all of them. Depth
    and click position are means over the longest window; ratings (mean and population deviation) and sentiment are over
    all events.
    """
    log = states.log
    found = dict(_windows(states, as_of))
    recent = as_of - log["time"] < max(WINDOWS.values())
    found["depth_mean"] = _mean(states, log["depth"], recent & _is(log, EventType.VIEW))
    found["click_position_mean"] = _mean(states, log["position"], recent & _is(log, EventType.CLICK))
    count, total, squares = states.totals["ratings"].T
    felt, feeling = states.totals["sentiments"].T
    with np.errstate(invalid="ignore"):
        found["rating_mean"] = total / count
        spread = squares / count - found["rating_mean"] ** 2
        found["rating_std"] = np.sqrt(np.where(spread > ROUNDING, spread, 0.0 * spread))
        found["sentiment_mean"] = feeling / felt
    return np.column_stack([found[name] for name in BEHAVIOUR_FEATURES]).astype(np.float32)


def _is(log: NDArray[np.void], kind: EventType) -> NDArray[np.bool_]:
    return log["type"] == CODE[kind]


def _windows(states: UserStates, as_of: float) -> list[tuple[str, Floats]]:
    log = states.log
    age = as_of - log["time"]
    dwell = np.nan_to_num(log["dwell_ms"]) * _is(log, EventType.VIEW)
    kinds = {name: _is(log, kind) for name, kind in COUNTED_TYPES.items()}
    result = []
    for window, seconds in WINDOWS.items():
        inside = age < seconds
        user = states.log_user[inside]
        result.append((f"dwell_ms_{window}", np.bincount(user, dwell[inside], states.users)))
        for name, of_kind in kinds.items():
            result.append((f"{name}_{window}", np.bincount(user, of_kind[inside], states.users)))
    return result


def _mean(states: UserStates, values: NDArray[np.float32], kept: NDArray[np.bool_]) -> Floats:
    """(U,) mean of the kept values; NaN without one."""
    kept = kept & ~np.isnan(values)
    user, value = states.log_user[kept], values[kept].astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.bincount(user, value, states.users) / np.bincount(user, minlength=states.users)
