"""Inverted lists of a faiss fast-scan index in one memory-mapped file, which all replicas of a host share.

faiss itself reads such lists into each process's own memory. Here they lie as it packs them, in blocks of 32 codes: a
list's blocks, then its ids, both with room for a whole number of blocks.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LISTS_FILE, SIZES_FILE = "nearest_lists.bin", "nearest_sizes.npy"
BLOCK = 32
ID_BYTES = 8


def write_lists(index: Any, folder: Path) -> None:
    """Write the lists of a filled `faiss.IndexIVFPQFastScan`."""
    import faiss  # noqa: PLC0415 - as in services/features/nearest.py

    lists = faiss.downcast_InvertedLists(index.invlists)
    sizes = np.array([lists.list_size(number) for number in range(index.nlist)], np.int64)
    np.save(folder / SIZES_FILE, sizes, allow_pickle=False)
    with (folder / LISTS_FILE).open("wb") as file:
        for number in sizes.nonzero()[0].tolist():
            room = _room(sizes[number])
            ids = np.zeros(room, "<i8")
            ids[: sizes[number]] = faiss.rev_swig_ptr(lists.get_ids(number), int(sizes[number]))
            file.write(faiss.rev_swig_ptr(lists.get_codes(number), int(room * _code_bytes(index))))
            file.write(ids)


def map_lists(index: Any, folder: Path) -> None:
    """Give an index that was written empty the lists of its folder, mapped into memory."""
    import faiss  # noqa: PLC0415 - as in services/features/nearest.py

    sizes = np.load(folder / SIZES_FILE, allow_pickle=False)
    room = _room(sizes)
    ends = (room * (_code_bytes(index) + ID_BYTES)).cumsum()
    mapped = faiss.OnDiskInvertedLists()
    mapped.nlist, mapped.code_size, mapped.prefetch_nthread = sizes.size, _code_bytes(index), 0
    mapped.filename, mapped.totsize, mapped.read_only = str(folder / LISTS_FILE), int(ends[-1]), True
    for size, capacity, end in zip(sizes.tolist(), room.tolist(), ends.tolist(), strict=True):
        one = faiss.OnDiskOneList()
        one.size, one.capacity = size, capacity
        one.offset = end - capacity * (_code_bytes(index) + ID_BYTES)
        mapped.lists.push_back(one)
    mapped.do_mmap()
    mapped.this.disown()
    index.replace_invlists(mapped, True)
    index.ntotal = int(sizes.sum())


def _room(sizes: Any) -> NDArray[np.int64]:
    """Codes that a list's blocks have room for."""
    return -(-np.asarray(sizes, np.int64) // BLOCK) * BLOCK


def _code_bytes(index: Any) -> int:
    return index.M2 // 2
