"""The state of users' profiles: everything their events left behind, kept so that new events can be added to it.

Sums fade exponentially, so each is one number as of a time (`services.profiles.decay`). They are kept per user *and
item*: what depends on an item's vector, categories, brand or price is read out when the portrait is made, so a vector
that arrives later changes the portrait without a look at the events.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FORMAT = 1

NEVER = -np.inf
"""Time of something that has not happened."""

TOTALS = np.dtype(
    [
        ("format", "<i4"),
        ("days", "<i4"),
        ("events", "<i8"),
        ("newest", "<f8"),
        ("newest_sequence", "<i8"),
        ("reference", "<f8"),
        ("first_active", "<f8"),
        ("last_active", "<f8"),
        ("ratings", "<f8", (3,)),
        ("sentiments", "<f8", (2,)),
        ("paid", "<f8", (3,)),
    ]
)
"""One row a user. `days`: distinct days with activity, from `first_active` to `last_active` (epoch s). `newest`: time
of the newest event, and its place in the log; `reference`: time of the newest event that says anything, which `paid` is
as of. `ratings`: count, Σr, Σr²; `sentiments`: count, Σ; `paid`: Σw, Σw·ln p, Σw·(ln p)² over events with a price of
their own, with the long half-life."""

ITEM_ROW = np.dtype(
    [
        ("time", "<f8"),
        ("long", "<f8"),
        ("long_slope", "<f8"),
        ("short", "<f8"),
        ("short_slope", "<f8"),
        ("hides", "<f8"),
        ("evidence", "<f8"),
        ("unpriced", "<f8"),
        ("strongest", "<f8"),
        ("bought", "<f8"),
        ("hid", "<f8"),
        ("count", "<i4"),
        ("type", "<i4"),
    ]
)
"""One row a user and item. The sums are as of `time`, the newest of the `count` events that say anything: weights with
the long and the short half-life as `x − mean rating · x_slope`; `hides`: the part of `long` that hides have; unsigned
weight `evidence`, and that of the events without a price of their own, `unpriced`. `type`: of the event with the
largest unsigned weight before decay (`strongest`), the later of equals. `bought`, `hid`: newest purchase, rating or
review, and newest hide (epoch s)."""

LOG_ROW = np.dtype([("time", "<f8"), ("dwell_ms", "<f8"), ("depth", "<f4"), ("position", "<f4"), ("type", "<i4")])
"""One row an event of the longest behaviour window."""


@dataclass(frozen=True)
class UserStates:
    """States of U users.

    `user_ids` (U,) in order; `totals` (U,) of `TOTALS`; `item_ids` the items these users have, in order; `user` (h,)
    and `item` (h,) place the `rows` (h,) of `ITEM_ROW`, ordered by user, then item; `log_user` (w,) places the
    `log` (w,) of `LOG_ROW`, ordered by user, then time.
    """

    user_ids: pa.Array
    totals: NDArray[np.void]
    item_ids: pa.Array
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    rows: NDArray[np.void]
    log_user: NDArray[np.int64]
    log: NDArray[np.void]

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def newest(self) -> NDArray[np.float64]:
        """(U,) epoch seconds of each user's newest event."""
        return self.totals["newest"]

    @property
    def newest_sequence(self) -> NDArray[np.int64]:
        """(U,) place in the event log of each user's newest event."""
        return self.totals["newest_sequence"]

    def mean_rating_sums(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(U,) count and sum of each user's ratings."""
        return self.totals["ratings"][:, 0], self.totals["ratings"][:, 1]

    def take(self, rows: NDArray[np.int64]) -> "UserStates":
        """The states of some users, given by their rows in ascending order."""
        place = np.full(self.users, -1)
        place[rows] = np.arange(len(rows))
        kept, logged = place[self.user] >= 0, place[self.log_user] >= 0
        return UserStates(
            user_ids=self.user_ids.take(pa.array(rows)),
            totals=self.totals[rows],
            item_ids=self.item_ids,
            user=place[self.user[kept]],
            item=self.item[kept],
            rows=self.rows[kept],
            log_user=place[self.log_user[logged]],
            log=self.log[logged],
        )

    def of_users(self, user_ids: list[str]) -> "UserStates":
        """The states of the named users; those without one are left out."""
        found = pc.index_in(self.user_ids, value_set=pa.array(user_ids, pa.string()))
        return self.take(np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False)))


def no_states() -> UserStates:
    """The states of nobody."""
    return UserStates(
        user_ids=pa.array([], pa.string()),
        totals=np.zeros(0, TOTALS),
        item_ids=pa.array([], pa.string()),
        user=np.zeros(0, np.int64),
        item=np.zeros(0, np.int64),
        rows=np.zeros(0, ITEM_ROW),
        log_user=np.zeros(0, np.int64),
        log=np.zeros(0, LOG_ROW),
    )


def empty_totals(count: int) -> NDArray[np.void]:
    """(count,) totals of users without events."""
    totals = np.zeros(count, TOTALS)
    totals["format"] = FORMAT
    for name in ("newest", "reference", "last_active"):
        totals[name] = NEVER
    totals["first_active"] = np.inf
    totals["newest_sequence"] = -1
    return totals
