"""Where values stand among others, as whole numbers, −1 for what is not there.

Arrow looks many values up; a call of it costs as much for a handful, which Python has found in a dictionary by then.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FEW = 150
"""Fewer values than this are handled by Python rather than by Arrow."""


def places(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """(len(values),) the place of each value in `among`, whose values are distinct; −1 for one that is not there or
    null."""
    if len(values) + len(among) < FEW:
        return coded(values.to_pylist(), among.to_pylist())
    among = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return whole(pc.index_in(values, value_set=among, skip_nulls=True))


def coded(values: Sequence[Any], among: Sequence[Any]) -> NDArray[np.int64]:
    """As `places`, of Python's values."""
    place = {value: at for at, value in enumerate(among) if value is not None}
    return np.array([place.get(value, -1) for value in values], np.int64)


def union(ours: pa.Array, theirs: pa.Array) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts of both sides in order, and the places of each side's among them."""
    if len(ours) + len(theirs) < FEW:
        sides = ours.to_pylist(), theirs.to_pylist()
        names = sorted({*sides[0], *sides[1]})
        return pa.array(names, pa.string()), coded(sides[0], names), coded(sides[1], names)
    both = pa.concat_arrays([ours, theirs]).unique()
    both = both.take(pc.sort_indices(both))
    return both, places(ours, both), places(theirs, both)


def sorted_codes(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """The distinct texts in order, and the code of each row; −1 for null."""
    if len(column) < FEW:
        values = column.to_pylist()
        names = sorted({value for value in values if value is not None})
        return pa.array(names, pa.string()), coded(values, names)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    by_value = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(by_value) + 1, np.int64)
    rank[np.asarray(by_value)] = np.arange(len(by_value))
    rank[-1] = -1
    return encoded.dictionary.take(by_value), rank[whole(encoded.indices)]


def whole(numbers: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """As int64, −1 for null."""
    numbers = pc.fill_null(numbers, -1) if numbers.null_count else numbers  # which costs more than to look whether
    return np.asarray(numbers).astype(np.int64)
