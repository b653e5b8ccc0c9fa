"""What models may learn from, what is known at the request, and what is to be predicted: leave-one-out and by time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from services.core.errors import InvalidInput
from training.event_log import EventLog

EPISODE_US = 86_400_000_000
"""What a user does with one item within a day is one episode: it begins with a click and may end in a purchase."""

LEAVE_ONE_OUT = "leave-one-out"
TIME = "time"


@dataclass(frozen=True)
class Split:
    """Rows of a log in three roles (`fit` and `history` are masks over rows, `targets` row numbers sorted by user).

    `fit`: what models learn from; `history`: what is known of the users when they are recommended to, which holds no
    target, nothing that led to it on that item, and nothing after it. Items the user already bought in `history` are
    not recommended (`seen`).
    """

    name: str
    log: EventLog
    fit: NDArray[np.bool_]
    history: NDArray[np.bool_]
    targets: NDArray[np.int64]

    @cached_property
    def users(self) -> NDArray[np.int32]:
        """Codes of the users who are evaluated, ascending."""
        return np.unique(self.log.user[self.targets])

    @cached_property
    def target_items(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(indptr, items): what each of `users` is to be recommended."""
        counts = np.bincount(self.log.user[self.targets], minlength=self.log.user_count)[self.users]
        return np.concatenate([[0], np.cumsum(counts)]), self.log.item[self.targets]

    def fit_events(self) -> pa.Table:
        """The events models may learn from, sorted by user and time."""
        return self.log.events.filter(pa.array(self.fit))

    def history_events(self) -> pa.Table:
        """The events known when recommending, sorted by user and time."""
        return self.log.events.filter(pa.array(self.history))

    def fit_matrix(self) -> sparse.csr_matrix:
        """(users, items) of ones where a user has a target event to learn from."""
        return self._matrix(self.fit & self.log.target)

    @cached_property
    def seen(self) -> sparse.csr_matrix:
        """(users, items) of ones where the user already has a target event: not recommended again."""
        return self._matrix(self.history & self.log.target)

    def item_counts(self) -> NDArray[np.float64]:
        """In how many users' fit part each item is: its popularity."""
        return np.asarray(self.fit_matrix().sum(axis=0)).ravel()

    def recency(self, decay: float, limit: int = 50) -> sparse.csr_matrix:
        """(users, items) of decay^r, r = 0 for the user's latest item, 1 for the one before, … up to `limit` items.

        Items the user was only shown, or has hidden, do not count.
        """
        rows = np.flatnonzero(self.history & self.log.engaged)[::-1]
        pair = self.log.user[rows].astype(np.int64) * self.log.item_count + self.log.item[rows]
        _, first = np.unique(pair, return_index=True)
        rows = rows[np.sort(first)][::-1]
        user = self.log.user[rows]
        ends = np.concatenate([np.flatnonzero(np.diff(user)), [len(user) - 1]]) if len(user) else np.zeros(0, int)
        last = np.zeros(self.log.user_count, np.int64)
        last[user[ends]] = ends
        rank = last[user] - np.arange(len(user))
        near = rank < limit
        weight = np.power(float(decay), rank[near])
        return sparse.csr_matrix((weight, (user[near], self.log.item[rows][near])), shape=self._shape)

    @property
    def _shape(self) -> tuple[int, int]:
        return self.log.user_count, self.log.item_count

    def _matrix(self, rows: NDArray[np.bool_]) -> sparse.csr_matrix:
        ones = np.ones(np.count_nonzero(rows), np.float32)
        matrix = sparse.csr_matrix((ones, (self.log.user[rows], self.log.item[rows])), shape=self._shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class SplitPair:
    """`validation` chooses settings, `test` is reported. `test` learns from everything before its targets (refitted);
    `test_unrefitted` learns from what `validation` learned from."""

    validation: Split
    test: Split
    test_unrefitted: Split


def leave_one_out(log: EventLog) -> SplitPair:
    """The last target event of each user tests, the one before validates; users with fewer than three only teach.

    What a user did after the target belongs to no part, and neither do the clicks and carts that led to it.
    """
    rows = np.flatnonzero(log.target)
    from_end = _rank_from_end(log.user[rows])
    counts = np.bincount(log.user[rows], minlength=log.user_count)[log.user[rows]]
    test = rows[(from_end == 0) & (counts >= 3)]
    validation = rows[(from_end == 1) & (counts >= 3)]
    if not len(test):
        raise InvalidInput(f"No user has three events of type {log.target_type}: leave-one-out needs at least three")
    before_test, before_validation = _before(log, test), _before(log, validation)
    return SplitPair(
        Split("leave-one-out-validation", log, before_validation, before_validation, validation),
        Split(LEAVE_ONE_OUT, log, before_test, before_test, test),
        Split("leave-one-out-unrefitted", log, before_validation, before_test, test),
    )


def hold_out_last(split: Split) -> Split:
    """The fit part without each user's last target event and what follows it; those last targets are to be predicted.

    For choosing settings, and for training what stands on other models. Users who would have no history only teach.
    """
    log = split.log
    rows = np.flatnonzero(split.fit & log.target)
    last = rows[_rank_from_end(log.user[rows]) == 0]
    known = split.fit & log.engaged & ~_on_the_way(log, last)
    first = np.full(log.user_count, len(log.user), np.int64)
    np.minimum.at(first, log.user[known], np.flatnonzero(known))
    last = last[first[log.user[last]] < last]
    if not len(last):
        raise InvalidInput("No user has two events to learn from: there is nothing to choose settings by")
    before = split.fit & _before(log, last)
    return Split(f"{split.name}-held-out", log, before, before, last)


def only_cold_items(split: Split, share: float, seed: int = 0) -> Split:
    """A share of the items, at random, taken out of what is learned from and of what is known; their targets remain.

    Users who would have no history are left out.
    """
    if not 0 < share < 1:
        raise InvalidInput(f"The share of cold items lies between 0 and 1; {share} does not")
    log = split.log
    cold = np.random.default_rng(seed).random(log.item_count) < share
    known = ~cold[log.item]
    history = split.history & known
    served = np.zeros(log.user_count, bool)
    served[log.user[history & log.engaged]] = True
    targets = split.targets[cold[log.item[split.targets]] & served[log.user[split.targets]]]
    if not len(targets):
        raise InvalidInput("None of the targets is among the cold items: take a larger share")
    return Split(f"{split.name}-cold-items", log, split.fit & known, history, targets)


def by_time(log: EventLog, share: float = 0.1) -> SplitPair:
    """The last `share` of the target events (of all users) tests, the `share` before it validates.

    A target that the user already had before is left out, and so are repeats.
    """
    if log.synthetic_time:
        raise InvalidInput("These events have an order but no times: use --split leave-one-out")
    time = log.timestamps()
    cut_test, cut_validation = (np.quantile(time[log.target], 1 - n * share, method="lower") for n in (1, 2))
    before_test, before_validation = time < cut_test, time < cut_validation
    return SplitPair(
        _time_split("time-validation", log, before_validation, before_validation, before_test & ~before_validation),
        _time_split(TIME, log, before_test, before_test, ~before_test),
        _time_split("time-unrefitted", log, before_validation, before_test, ~before_test),
    )


def _time_split(
    name: str, log: EventLog, fit: NDArray[np.bool_], history: NDArray[np.bool_], future: NDArray[np.bool_]
) -> Split:
    pair = log.user.astype(np.int64) * log.item_count + log.item
    rows = np.flatnonzero(future & log.target)
    rows = rows[~np.isin(pair[rows], pair[history & log.target])]
    _, first = np.unique(pair[rows], return_index=True)
    if not len(first):
        raise InvalidInput("No user has anything new after the cut: use a larger share, or --split leave-one-out")
    return Split(name, log, fit, history, rows[np.sort(first)])


def _rank_from_end(user: NDArray[np.int32]) -> NDArray[np.int64]:
    """0 for the last row of each user, 1 for the one before, …; `user` is sorted."""
    ends = np.cumsum(np.bincount(user))
    return ends[user] - 1 - np.arange(len(user))


def _before(log: EventLog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows that stand before their user's row in `rows` and did not lead to it; all rows of users without one."""
    cut = np.full(log.user_count, len(log.user), np.int64)
    cut[log.user[rows]] = rows
    return (np.arange(len(log.user)) < cut[log.user]) & ~_on_the_way(log, rows)


def _on_the_way(log: EventLog, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What users did with the item of their row in `rows` on the day before it: the click, the views and the cart of a
    purchase. A list that is to bring the item cannot know them: they are the answer to it."""
    item, time = np.full(log.user_count, -1, np.int64), np.zeros(log.user_count, np.int64)
    if log.synthetic_time:
        return np.zeros(len(log.user), bool)
    when = log.timestamps()
    item[log.user[rows]], time[log.user[rows]] = log.item[rows], when[rows]
    return (log.item == item[log.user]) & (when > time[log.user] - EPISODE_US) & ~log.target
