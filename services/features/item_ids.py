"""From item ids to row numbers without a Python dictionary of millions in every process."""

import hashlib
from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from services.features.snapshot_files import StringColumn

DICTIONARY_LIMIT = 20_000
"""Up to here a dictionary is kept (3 MB a process): 50 ns a look-up. Above it the mapped table: about 0.6 µs."""
SLOTS_AN_ITEM = 2


def digests(item_ids: Iterable[str]) -> NDArray[np.uint64]:
    """The 64-bit BLAKE2b digests of item ids."""
    blake2b = hashlib.blake2b
    parts = [blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest() for item in item_ids]
    return np.frombuffer(b"".join(parts), "<u8")


def id_slots(texts: Sequence[bytes]) -> NDArray[np.int32]:
    """A hash table of ids in UTF-8: rows by slot, −1 for an empty one.

    An id's slot is its CRC-32 scaled to twice as many slots as ids, or the next free one (linear probing; the table
    does not wrap round, it ends in an empty slot).
    """
    home = np.fromiter(map(crc32, texts), np.int64, len(texts)) * (SLOTS_AN_ITEM * len(texts)) >> 32
    order = np.argsort(home, kind="stable")
    place = np.arange(len(texts))
    place += np.maximum.accumulate(home[order] - place)
    slots = np.full(max(SLOTS_AN_ITEM * len(texts), int(place.max(initial=-1)) + 1) + 1, -1, np.int32)
    slots[place] = order
    return slots


class ItemIdIndex:
    """`slots`: of `id_slots`, of the same ids."""

    def __init__(self, ids: StringColumn, slots: NDArray[np.int32]) -> None:
        self._ids, self._slots = ids, memoryview(slots)
        small = len(ids) <= DICTIONARY_LIMIT
        self._dictionary = {item: row for row, item in enumerate(ids)} if small else None

    def index_of(self, item_id: str) -> int:
        """The row of an item, −1 when unknown."""
        return self._in_table((item_id,))[0] if self._dictionary is None else self._dictionary.get(item_id, -1)

    def indices(self, item_ids: Iterable[str]) -> NDArray[np.int32]:
        """The rows of items, −1 where unknown, int32 (n,)."""
        if self._dictionary is None:
            return np.array(self._in_table(item_ids), np.int32)
        get = self._dictionary.get
        return np.array([get(item, -1) for item in item_ids], np.int32)

    def _in_table(self, item_ids: Iterable[str]) -> list[int]:
        slots, count, encoded = self._slots, SLOTS_AN_ITEM * len(self._ids), self._ids.encoded
        found = []
        for item in item_ids:
            text = item.encode("utf-8", "surrogatepass")
            slot = crc32(text) * count >> 32
            while (row := slots[slot]) >= 0 and encoded(row) != text:
                slot += 1
            found.append(row)
        return found
