"""Batches of token sequences: sorted by length, as many as fit a budget of padded tokens, padded without a row loop."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np

T = TypeVar("T")

MAX_ROWS = 1_024
"""Rows of one batch at most, so that very short texts do not make one enormous batch."""


@dataclass(frozen=True)
class TokenBatch:
    """`rows` (b,) are positions in the caller's sequence; `ids` and `mask` are int64 (b, longest)."""

    rows: np.ndarray
    ids: np.ndarray
    mask: np.ndarray


def token_batches(sequences: Sequence[Sequence[int]], token_budget: int, pad_id: int = 0) -> Iterator[TokenBatch]:
    """Batches that together hold each sequence once, longest first (a batch too big for memory fails at the start)."""
    lengths = np.fromiter((len(sequence) for sequence in sequences), dtype=np.int64, count=len(sequences))
    flat = np.fromiter(chain.from_iterable(sequences), dtype=np.int64, count=int(lengths.sum()))
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        size = max(1, min(MAX_ROWS, token_budget // max(1, longest)))
        rows = order[first : first + size]
        first += size
        columns = np.arange(longest)
        mask = columns < lengths[rows, None]
        ids = np.full(mask.shape, pad_id, dtype=np.int64)
        ids[mask] = flat[(starts[rows, None] + columns)[mask]]
        yield TokenBatch(rows, ids, mask.astype(np.int64))


def one_ahead(calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What the calls return, in order; each but the first is made by a thread while the one before it is used."""
    calls = iter(calls)
    first, second = next(calls, None), next(calls, None)
    if first is None:
        return
    made = first()
    if second is None:
        yield made
        return
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(second)
        yield made
        for call in calls:
            made, coming = coming.result(), thread.submit(call)
            yield made
        yield coming.result()
