"""How far the states kept by updates are from those folded afresh from all events: it should be nowhere."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.profiles.config import ProfileConfig
from services.profiles.state import UserStates
from services.profiles.weights import decay

TOLERANCE = 1e-5
FARTHEST = 1e9
"""How far states are apart that do not hold the same items: JSON has no infinity."""
TOTALS_COMPARED = ("days", "newest", "reference", "first_active", "last_active", "ratings", "sentiments", "paid")
ROWS_COMPARED = ("time", "strongest", "bought", "hid", "count", "type")

FADING = {
    "long": "long_half_life",
    "long_slope": "long_half_life",
    "short": "short_half_life",
    "short_slope": "short_half_life",
    "hides": "long_half_life",
    "evidence": "long_half_life",
    "unpriced": "long_half_life",
}
"""The decayed sums of an item row, and which half-life of the configuration each has."""


@dataclass
class Drift:
    """Of `compared` users the largest difference, relative to 1 or to the value where that is larger; and whose states
    differ by more than `TOLERANCE`."""

    compared: int = 0
    largest: float = 0.0
    users: int = 0

    def add(self, kept: UserStates, fresh: UserStates, config: ProfileConfig) -> list[str]:
        """Compare users that are in both after the same events; returns those that differ."""
        kept, fresh = _same_events(kept, fresh)
        if not kept.users:
            return []
        apart = _of_totals(kept, fresh)
        np.maximum.at(apart, *_of_rows(kept, fresh, config))
        self.compared += kept.users
        self.largest = max(self.largest, min(float(apart.max(initial=0.0)), FARTHEST))
        moved = np.flatnonzero(apart > TOLERANCE)
        self.users += len(moved)
        return [kept.user_ids[row].as_py() for row in moved.tolist()]

    def merge(self, other: "Drift") -> None:
        """Count the users of another comparison as well."""
        self.compared += other.compared
        self.largest = max(self.largest, other.largest)
        self.users += other.users


def _same_events(kept: UserStates, fresh: UserStates) -> tuple[UserStates, UserStates]:
    """Both for the users whose states are after the same number of events up to the same one."""
    both = fresh.user_ids.filter(pc.is_in(fresh.user_ids, value_set=kept.user_ids)).to_pylist()
    kept, fresh = kept.of_users(both), fresh.of_users(both)
    same = (kept.totals["events"] == fresh.totals["events"]) & (kept.newest_sequence == fresh.newest_sequence)
    rows = np.flatnonzero(same)
    return kept.take(rows), fresh.take(rows)


def _of_totals(kept: UserStates, fresh: UserStates) -> NDArray[np.float64]:
    """(U,) largest difference in each user's totals."""
    parts = [np.zeros((kept.users, 1))]
    for name in TOTALS_COMPARED:
        parts.append(_apart(kept.totals[name], fresh.totals[name]).reshape(kept.users, -1))
    return np.concatenate(parts, axis=1).max(axis=1)


def _of_rows(
    kept: UserStates, fresh: UserStates, config: ProfileConfig
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(users, differences) row by row; a user with other rows is infinitely far away."""
    ours = np.array(list(zip(kept.user.tolist(), _names(kept), strict=True)), object).reshape(-1, 2)
    theirs = np.array(list(zip(fresh.user.tolist(), _names(fresh), strict=True)), object).reshape(-1, 2)
    if ours.shape != theirs.shape or not (ours == theirs).all():
        other = set(map(tuple, ours.tolist())) ^ set(map(tuple, theirs.tolist()))
        return np.array([user for user, _ in other], np.int64), np.full(len(other), np.inf)
    parts = [_apart(kept.rows[name], fresh.rows[name]) for name in ROWS_COMPARED]
    with np.errstate(invalid="ignore"):
        age = np.nan_to_num(fresh.rows["time"] - kept.rows["time"], nan=0.0)
    for name, half_life in FADING.items():
        parts.append(_apart(kept.rows[name] * decay(age, getattr(config, half_life)), fresh.rows[name]))
    return fresh.user, np.max(parts, axis=0) if len(fresh.user) else np.zeros(0)


def _names(states: UserStates) -> list[str]:
    return pc.take(states.item_ids, states.item).to_pylist() if len(states.item) else []


def _apart(ours: NDArray, theirs: NDArray) -> NDArray[np.float64]:
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1.0)
    return np.where(ours == theirs, 0.0, np.nan_to_num(apart, nan=np.inf))
