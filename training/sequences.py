"""Users' histories as a sequence model reads them: flat tokens in order, windows over them, and what each predicts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from services.core import columns
from services.networks.user_config import EVENT_TYPES
from training.splits import EPISODE_US, Split

BUCKET_BATCHES = 20
"""Histories are sorted by length within so many batches, so that a batch holds little padding."""


@dataclass(frozen=True)
class Tokens:
    """Events sorted by user and time, one token each: `user`, `item` int32, `type` int64 codes, `time` float64 seconds
    (NaN without times), `target` bool: whether it is a hit when predicted. An item's repeats in a row are one token,
    and so is what led to a target within a day, at the last's place: a click does not foretell its own purchase."""

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    type: NDArray[np.int64]
    time: NDArray[np.float64]
    target: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: NDArray[np.bool_]) -> "Tokens":
        """The tokens of a mask."""
        return Tokens(self.user[mask], self.item[mask], self.type[mask], self.time[mask], self.target[mask])


def tokens_of(split: Split, rows: NDArray[np.bool_]) -> Tokens:
    """The tokens of those of the rows in which users engaged with an item."""
    log = split.log
    chosen = np.flatnonzero(rows & (log.engaged | log.target))
    user, item, target = log.user[chosen], log.item[chosen], log.target[chosen]
    names = log.events[columns.TYPE].take(chosen)
    codes = {name: code for code, name in enumerate(EVENT_TYPES, 1)}
    kind = pl.from_arrow(names).cast(pl.String).replace_strict(codes, default=0, return_dtype=pl.Int64).to_numpy()
    time = np.full(len(chosen), np.nan) if log.synthetic_time else log.timestamps()[chosen] / 1e6
    last, hit = _episodes(user, item, time, target)
    return Tokens(user[last], item[last], kind[last], time[last], hit)


def _episodes(
    user: NDArray[np.int32], item: NDArray[np.int32], time: NDArray[np.float64], target: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(last, hit): the row with which each episode of a user with an item ends, in order, and whether any of its rows
    is a target."""
    if not len(user):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    order = np.lexsort((np.arange(len(user)), item, user))
    one, next_ = order[:-1], order[1:]
    same = (user[one] == user[next_]) & (item[one] == item[next_])
    same &= (next_ == one + 1) | ((time[next_] - time[one] <= EPISODE_US / 1e6) & ~target[one])
    ends = np.append(~same, True)
    episode = np.cumsum(ends) - ends
    hit = np.bincount(episode, target[order]) > 0
    last = order[ends]
    place = np.argsort(last)
    return last[place], hit[place]


@dataclass(frozen=True)
class Batch:
    """B windows of up to L tokens: `rows` int64 (B, L) into the tokens, `known` bool (B, L); `asking` bool (B, L): the
    tokens that predict something; `hits` int32 (asking.sum(), K) item codes and `weights` float32 of the same shape."""

    rows: NDArray[np.int64]
    known: NDArray[np.bool_]
    asking: NDArray[np.bool_]
    hits: NDArray[np.int32]
    weights: NDArray[np.float32]


class TrainingWindows:
    """Windows of at most `length` tokens over users' histories, each token predicting the next `window` targets.

    A history longer than a window is cut into several that overlap by half.
    """

    def __init__(self, tokens: Tokens, *, length: int, window: int, decay: float) -> None:
        self.tokens, self._window, self._decay = tokens, window, decay
        self._hits, self._weights = next_targets(tokens, window, decay)
        self.starts, self.ends = _windows(tokens.user, length)
        useful = np.add.reduceat(self._weights.sum(axis=1), self.starts) if len(self.starts) else np.zeros(0)
        self.starts, self.ends = self.starts[useful > 0], self.ends[useful > 0]

    def __len__(self) -> int:
        return len(self.starts)

    def item_counts(self, item_count: int) -> NDArray[np.float32]:
        """How often each item is a target or part of a history."""
        return np.bincount(self.tokens.item, minlength=item_count).astype(np.float32)

    def batches(self, rng: np.random.Generator, users: int, share: slice = slice(None)) -> Iterator[Batch]:
        """All windows once, in random order, `users` at a time, and of them a worker's share (it may be empty)."""
        order = rng.permutation(len(self))
        span = users * BUCKET_BATCHES
        groups = []
        for at in range(0, len(order), span):
            some = order[at : at + span]
            some = some[np.argsort(self.ends[some] - self.starts[some], kind="stable")]
            groups += [some[low : low + users] for low in range(0, len(some), users)]
        for group in rng.permutation(len(groups)).tolist():
            yield self.batch(groups[group][share])

    def batch(self, windows: NDArray[np.int64]) -> Batch:
        """The windows of these numbers."""
        rows, known = padded(self.starts[windows], self.ends[windows])
        asking = known & (self._weights[rows].sum(axis=2) > 0)
        chosen = rows[asking]
        return Batch(rows, known, asking, self._hits[chosen], self._weights[chosen])


def padded(starts: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(rows, known), each (B, L): the rows from start to end, then the first again, which is not known."""
    length = int((ends - starts).max(initial=1))
    rows = starts[:, None] + np.arange(length)
    known = rows < ends[:, None]
    return np.where(known, rows, starts[:, None]), known


def next_targets(tokens: Tokens, window: int, decay: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(hits, weights), each (tokens, window): the next targets of each token's user; weight 0 where there are fewer."""
    rows = np.flatnonzero(tokens.target)
    if not len(rows):
        return np.zeros((len(tokens), window), np.int32), np.zeros((len(tokens), window), np.float32)
    place = np.searchsorted(rows, np.arange(len(tokens)), side="right")[:, None] + np.arange(window)
    found = rows[np.minimum(place, len(rows) - 1)]
    same = (place < len(rows)) & (tokens.user[found] == tokens.user[:, None])
    weights = np.where(same, np.float32(decay) ** np.arange(window, dtype=np.float32), 0)
    return tokens.item[found], weights.astype(np.float32)


def last_windows(user: NDArray[np.int32], users: NDArray[np.int32], length: int) -> tuple[NDArray, NDArray]:
    """(starts, ends): rows of the last `length` tokens of each of `users`, empty where there are none."""
    ends = np.searchsorted(user, users, side="right")
    starts = np.maximum(np.searchsorted(user, users, side="left"), ends - length)
    return starts, ends


def _windows(user: NDArray[np.int32], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not len(user):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate(([True], user[1:] != user[:-1])))
    last = np.concatenate((first[1:], [len(user)]))
    step = max(1, length // 2)
    pieces = np.maximum(0, -(-(last - first - length) // step)) + 1
    owner = np.repeat(np.arange(len(first)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = last[owner] - number * step
    return np.maximum(first[owner], ends - length), ends
