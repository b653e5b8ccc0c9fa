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


@dataclass(frozen=True)
class Hits:
    """One source's items, best first: `indices` int32 (k,). `quota` is the size its ranks are measured against."""

    source: Source
    indices: NDArray[np.int32]
    quota: int


@dataclass(frozen=True)
class Candidates:
    """Distinct items: `indices` int32 (n,), ascending; `sources` uint16 (n,) bitmasks; `priority` uint16 (n,).

    `priority` is the best rank an item has in any list, in 1/65535 of that list's quota: 0 is best.
    """

    indices: NDArray[np.int32]
    sources: NDArray[np.uint16]
    priority: NDArray[np.uint16]

    def __len__(self) -> int:
        return self.indices.size

    def retrieval_scores(self) -> NDArray[np.float32]:
        """How strongly retrieval proposed each, float32 (n,): 1 for the first of a list, 0 beyond its quota."""
        return 1 - self.priority / np.float32(65_535)

    def keep(self, mask: NDArray[np.bool_]) -> "Candidates":
        """The candidates where the mask is true."""
        return Candidates(self.indices[mask], self.sources[mask], self.priority[mask])

    def best(self, count: int) -> "Candidates":
        """At most `count` candidates, those with the best priority."""
        if len(self) <= count:
            return self
        chosen = np.argpartition(self.priority, count - 1)[:count]
        chosen.sort()
        return Candidates(self.indices[chosen], self.sources[chosen], self.priority[chosen])


NONE = Candidates(np.empty(0, np.int32), np.empty(0, np.uint16), np.empty(0, np.uint16))


def merge(hits: list[Hits]) -> Candidates:
    """The union of the lists. One sort: index, rank and source are packed into one integer each."""
    hits = [h for h in hits if h.indices.size]
    if not hits:
        return NONE
    packed = np.concatenate([h.indices for h in hits]).astype(np.int64)
    packed <<= 32
    packed |= np.concatenate([_ranks(h.indices.size, h.quota, int(h.source)) for h in hits])
    packed.sort()
    items = packed >> 32
    first = np.empty(packed.size, bool)
    first[0] = True
    np.not_equal(items[1:], items[:-1], out=first[1:])
    starts = first.nonzero()[0]
    sources = np.bitwise_or.reduceat((packed & 0xFFFF).astype(np.uint16), starts)
    best = packed[starts]
    return Candidates(items[starts].astype(np.int32), sources, (best >> 16 & 0xFFFF).astype(np.uint16))


@lru_cache(maxsize=4_096)
def _ranks(count: int, quota: int, source: int) -> NDArray[np.int64]:
    """Rank in 1/65535 of the quota, shifted beside the source's bit; the same few lengths come again and again."""
    rank = np.minimum(np.arange(count, dtype=np.int64) * 65_535 // max(quota, 1), 65_535)
    return (rank << 16) | source


def is_in(ascending: NDArray[np.int32], wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which of the distinct, ascending values are among `wanted`, bool (n,)."""
    found = np.zeros(ascending.size, bool)
    if ascending.size and wanted.size:
        at = np.searchsorted(ascending, wanted)
        at[at == ascending.size] = 0
        found[at[ascending[at] == wanted]] = True
    return found
