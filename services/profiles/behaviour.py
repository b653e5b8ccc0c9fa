"""Behaviour statistics: what a user did in the last hour, day, week and month before a time, by event time."""

import numpy as np
from numpy.typing import NDArray

from feature_repo.names import BEHAVIOUR_FEATURES, STATISTICS
from services.core.native import native, read, written
from services.core.types import WINDOWS, EventType
from services.profiles.events import CODE, TYPES
from services.profiles.state import LOG_ROW, TOTALS, UserStates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

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

SPANS = np.array(sorted(WINDOWS.values()), np.float64)
"""The windows, shortest first."""


def _columns(*counted: str) -> Ints:
    """(n, W) which features count these in each window."""
    windows = sorted(WINDOWS, key=WINDOWS.__getitem__)
    return np.array([[BEHAVIOUR_FEATURES.index(f"{name}_{window}") for window in windows] for name in counted])


def _counts() -> Ints:
    """(T + 1, W) the features that count the events of each type, −1 for those that none does."""
    found = np.full((len(TYPES) + 1, len(WINDOWS)), -1)
    found[[CODE[kind] for kind in COUNTED_TYPES.values()]] = _columns(*COUNTED_TYPES)
    return found


COUNTS, DWELLS = _counts(), _columns("dwell_ms")[0]
MEANS = np.array([BEHAVIOUR_FEATURES.index(name) for name in STATISTICS])


def behaviour(states: UserStates, as_of: float) -> NDArray[np.float32]:
    """(U, F) float32 in the order of `names.BEHAVIOUR_FEATURES`, NaN where undefined.

    An event belongs to a window when as_of − time < window; one that is dated a little ahead is in all of them. Depth
    and click position are means over the longest window; ratings (mean and population deviation) and sentiment are over
    all events.
    """
    found = np.zeros((states.users, len(BEHAVIOUR_FEATURES)))
    types = CODE[EventType.VIEW], CODE[EventType.CLICK]
    _count(states.log_user, states.log, states.totals, as_of, *types, SPANS, COUNTS, DWELLS, MEANS, found)
    return found.astype(np.float32)


@native(
    *(read(np.int64), read(LOG_ROW), read(TOTALS), np.float64, np.int64, np.int64),
    *(read(np.float64), read(np.int64, 2), read(np.int64), read(np.int64)),
    written(np.float64, 2),
)
def _count(
    log_user: Ints,
    log: NDArray[np.void],
    totals: NDArray[np.void],
    as_of: float,
    view: int,
    click: int,
    spans: Floats,
    counts: Ints,
    dwells: Ints,
    means: Ints,
    found: Floats,
) -> None:
    """Write the features, whose columns are `counts`, `dwells` and `means`; `view` and `click` are codes of types."""
    observed = np.zeros((len(totals), 2))
    depth, clicked, rating, deviation, sentiment = means
    for at in range(len(log)):
        row, user = log[at], log_user[at]
        age = as_of - row.time
        for window in range(len(spans)):
            if age < spans[window]:
                if counts[row.type, window] >= 0:
                    found[user, counts[row.type, window]] += 1.0
                if row.type == view and not np.isnan(row.dwell_ms):
                    found[user, dwells[window]] += row.dwell_ms
        if age < spans[-1]:
            if row.type == view and not np.isnan(row.depth):
                found[user, depth] += row.depth
                observed[user, 0] += 1.0
            if row.type == click and not np.isnan(row.position):
                found[user, clicked] += row.position
                observed[user, 1] += 1.0
    for user in range(len(totals)):
        found[user, depth] /= observed[user, 0]
        found[user, clicked] /= observed[user, 1]
        count, total, squares = totals[user].ratings
        found[user, rating] = total / count
        spread = squares / count - found[user, rating] ** 2
        found[user, deviation] = np.sqrt(spread) if not spread <= ROUNDING else 0.0
        found[user, sentiment] = totals[user].sentiments[1] / totals[user].sentiments[0]
