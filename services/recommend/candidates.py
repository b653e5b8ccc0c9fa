"""Candidates and where they came from, merged from best-first lists."""

from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


class Source(IntFlag):
    """Where a candidate came from, as a bitmask."""

    LONG_TERM = 1
    SHORT_TERM = 2
    INTEREST = 4
    ITEM_TO_ITEM = 8
    SIMILAR_USERS = 16
    TRENDING = 32
    CATEGORY = 64
    POPULAR = 128
    NEWEST = 256
    CONTEXT = 512
    FILTER = 1024
    QUERY = 2048


SOURCE_NAMES = tuple(source.name.lower() for source in Source)


def source_names(mask: int) -> list[str]:
    """The names of the bits in a mask."""
    return [name for bit, name in enumerate(SOURCE_NAMES) if mask >> bit & 1]


STEADINESS = 60
"""k of reciprocal rank fusion: how slowly an item's say falls with its rank."""

WEIGHTS: dict[Source, float] = {Source.QUERY: 8.0, Source.CONTEXT: 8.0, Source.ITEM_TO_ITEM: 2.0}
"""What a list's word counts; others count 1. A learned query knows most; what the page is about was asked for. The
first eight of every list still come before the five hundredth of the learned one."""

HALF = 8.0 / STEADINESS
"""What the first of the learned query's list gets from it alone: as a retrieval score ½."""


@dataclass(frozen=True)
class Hits:
    """One source's items, best first: `indices` int32 (k,)."""

    source: Source
    indices: NDArray[np.int32]


@dataclass(frozen=True)
class Candidates:
    """Distinct items: `indices` int32 (n,), ascending; `sources` uint16 (n,) bitmasks; `votes` float32 (n,).

    `votes`: Σ weight / (k + rank) over the lists that an item is in, rank 0 for the first (weighted reciprocal rank
    fusion, Cormack et al. 2009).
    """

    indices: NDArray[np.int32]
    sources: NDArray[np.uint16]
    votes: NDArray[np.float32]

    def __len__(self) -> int:
        return self.indices.size

    def retrieval_scores(self) -> NDArray[np.float32]:
        """How strongly retrieval proposed each, float32 (n,), between 0 and 1."""
        return self.votes / (self.votes + np.float32(HALF))

    def keep(self, mask: NDArray[np.bool_]) -> "Candidates":
        """The candidates where the mask is true."""
        return Candidates(self.indices[mask], self.sources[mask], self.votes[mask])

    def best(self, count: int) -> "Candidates":
        """The `count` candidates with the most votes, all of them where there are fewer."""
        if len(self) <= count:
            return self
        chosen = np.argpartition(-self.votes, count - 1)[:count]
        chosen.sort()
        return Candidates(self.indices[chosen], self.sources[chosen], self.votes[chosen])


NONE = Candidates(np.empty(0, np.int32), np.empty(0, np.uint16), np.empty(0, np.float32))


def merge(hits: list[Hits]) -> Candidates:
    """The union of the lists. One sort: index and place are packed into one integer each."""
    hits = [h for h in hits if h.indices.size]
    if not hits:
        return NONE
    packed = np.concatenate([h.indices for h in hits]).astype(np.int64)
    packed <<= 32
    packed |= np.arange(packed.size)
    packed.sort()
    items, place = packed >> 32, packed & 0xFFFFFFFF
    first = np.empty(packed.size, bool)
    first[0] = True
    np.not_equal(items[1:], items[:-1], out=first[1:])
    starts = first.nonzero()[0]
    votes = np.concatenate([_votes(h.indices.size, h.source) for h in hits])[place]
    sources = np.concatenate([_bits(h.indices.size, h.source) for h in hits])[place]
    return Candidates(
        items[starts].astype(np.int32), np.bitwise_or.reduceat(sources, starts), np.add.reduceat(votes, starts)
    )


@lru_cache(maxsize=4_096)
def _votes(count: int, source: Source) -> NDArray[np.float32]:
    """weight / (k + rank); the same few lengths come again and again."""
    return (WEIGHTS.get(source, 1.0) / (STEADINESS + np.arange(count))).astype(np.float32)


@lru_cache(maxsize=4_096)
def _bits(count: int, source: Source) -> NDArray[np.uint16]:
    return np.full(count, source, np.uint16)


def is_in(ascending: NDArray[np.int32], wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of the distinct, ascending values are among `wanted`, bool (n,)."""
    found = np.zeros(ascending.size, bool)
    if ascending.size and wanted.size:
        at = np.searchsorted(ascending, wanted)
        at[at == ascending.size] = 0
        found[at[ascending[at] == wanted]] = True
    return found
