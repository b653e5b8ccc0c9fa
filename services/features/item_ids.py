"""From item ids to row numbers without a Python dictionary of millions in every process."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from services.features.snapshot_files import StringColumn

DICTIONARY_LIMIT = 200_000
"""Up to here a dictionary is kept (about 30 MB): 50 ns a look-up. Above it, sorted digests: about 1 µs."""


def digests(item_ids: Iterable[str]) -> NDArray[np.uint64]:
    """The 64-bit BLAKE2b digests of item ids."""
    blake2b = hashlib.blake2b
    parts = [blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest() for item in item_ids]
    return np.frombuffer(b"".join(parts), "<u8")


class ItemIdIndex:
    """`sorted_digests` uint64 (n,) ascending, `rows` int32 (n,): the row of each digest."""

    def __init__(self, ids: StringColumn, sorted_digests: NDArray[np.uint64], rows: NDArray[np.int32]) -> None:
        self._ids, self._digests, self._rows = ids, sorted_digests, rows
        small = len(ids) <= DICTIONARY_LIMIT
        self._dictionary = {item: row for row, item in enumerate(ids)} if small else None

    def index_of(self, item_id: str) -> int:
        """The row of an item, −1 when unknown."""
        if self._dictionary is not None:
            return self._dictionary.get(item_id, -1)
        return int(self.indices([item_id])[0])

    def indices(self, item_ids: Iterable[str]) -> NDArray[np.int32]:
        """The rows of items, −1 where unknown, int32 (n,)."""
        if self._dictionary is not None:
            get = self._dictionary.get
            return np.array([get(item, -1) for item in item_ids], np.int32)
        wanted = list(item_ids)
        keys = digests(wanted)
        at = np.searchsorted(self._digests, keys)
        found = np.full(len(wanted), -1, np.int32)
        known = at < self._digests.size
        known[known] = self._digests[at[known]] == keys[known]
        for i in known.nonzero()[0].tolist():
            found[i] = self._same_digest(wanted[i], int(at[i]))
        return found

    def _same_digest(self, item_id: str, at: int) -> int:
        """Of the rows that share the digest at `at` the one with this very id, or −1."""
        digest = self._digests[at]
        while at < self._digests.size and self._digests[at] == digest:
            row = int(self._rows[at])
            if self._ids[row] == item_id:
                return row
            at += 1
        return -1
