"""Columns of Arrow tables as NumPy arrays."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def text_column(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets int64 (n + 1,) and UTF-8 bytes of an Arrow text array; null becomes empty."""
    return flat(pc.fill_null(array.cast(pa.large_string()), ""))


def flat(values: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Offsets int64 (n + 1,) and bytes of a large string or binary array."""
    _, offsets, data = values.buffers()
    held = slice(values.offset, values.offset + len(values) + 1)
    ends = np.frombuffer(offsets, np.int64)[held] if len(values) else np.zeros(1, np.int64)
    return ends - ends[0], np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data else np.empty(0, np.uint8)


def rows_of(ids: pa.Array, wanted: pa.Array) -> NDArray[np.int32]:
    """The row in `ids` of each wanted id, −1 where there is none."""
    if pa.types.is_dictionary(wanted.type):
        codes = pc.fill_null(wanted.indices.cast(pa.int32()), -1).to_numpy(zero_copy_only=False)
        if wanted.dictionary.equals(ids):
            return codes
        return np.append(rows_of(ids, wanted.dictionary), np.int32(-1))[codes]
    found = pc.index_in(wanted.cast(pa.string()), value_set=ids)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)


def numbers(table: pa.Table, name: str, dtype: type[np.floating]) -> NDArray:
    """A numeric column, NaN where null."""
    return column(table, name).cast(pa.float64()).to_numpy(zero_copy_only=False).astype(dtype)


def epoch_seconds(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A timestamp column as epoch seconds, NaN where null or absent."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    micros = column(table, name).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return micros.cast(pa.float64()).to_numpy(zero_copy_only=False) / 1e6


def coded(values: pa.Array) -> tuple[pa.Array, NDArray[np.int32]]:
    """The distinct values in ascending order, and each value's code; −1 for null."""
    names = pc.unique(values).drop_null().cast(pa.string())
    names = names.take(pc.sort_indices(names))
    return names, rows_of(names, values)


def lists_csr(lists: pa.Array) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.int32]]:
    """Names, CSR row pointers and codes of a list-of-text column. A value twice in a list counts once."""
    if not len(lists):
        return pa.array([], pa.string()), np.zeros(1, np.int64), np.empty(0, np.int32)
    lists = lists.cast(pa.list_(pa.string()))
    parents = pc.list_parent_indices(lists).to_numpy()
    names, codes = coded(pc.list_flatten(lists))
    keep = codes >= 0
    parents, codes = parents[keep], codes[keep]
    _, first = np.unique(parents.astype(np.int64) * max(len(names), 1) + codes, return_index=True)
    first.sort()
    parents, codes = parents[first], codes[first]
    counts = np.bincount(parents, minlength=len(lists))
    return names, np.concatenate(([0], counts.cumsum())), codes


def column(table: pa.Table, name: str) -> pa.Array:
    """One column as one array."""
    values = table[name].combine_chunks()
    return values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
