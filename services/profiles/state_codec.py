"""User states as columns of the table `user_states`, and back: a few byte strings a user, no loop over users."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.profiles.places import whole
from services.profiles.state import FORMAT, ITEM_ROW, LOG_ROW, TOTALS, UserStates

SEPARATOR = "\0"
"""Between item ids: PostgreSQL's text, and so an item id, cannot hold it."""

COLUMNS = ("totals", "items", "item_ids", "log")


def encode(states: UserStates) -> dict[str, pa.Array]:
    """The columns `COLUMNS`, binary, one value a user."""
    everyone = np.arange(states.users + 1)
    starts = np.searchsorted(states.user, everyone)
    ids = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), states.item_ids.take(pa.array(states.item)))
    return {
        "totals": _binary(states.totals, everyone),
        "items": _binary(states.rows, starts),
        "item_ids": pc.binary_join(ids, SEPARATOR).cast(pa.binary()),
        "log": _binary(states.log, np.searchsorted(states.log_user, everyone)),
    }


def decode(table: pa.Table, *, readable: bool = False) -> UserStates:
    """The states of a table with `user_id` and `COLUMNS`; `readable`: the caller has left `unreadable_users` out.

    Raises:
        CorruptArtefact: a state cannot be read; `unreadable_users` names whose.
    """
    if not readable and unreadable_users(table):
        raise CorruptArtefact("A stored user state cannot be read: run `portrait profiles recompute`")
    table = table.sort_by("user_id")
    user_ids = _chunk(table.column("user_id").cast(pa.string()))
    rows, counts = _records(table.column("items"), ITEM_ROW)
    log, logged = _records(table.column("log"), LOG_ROW)
    joined = table.column("item_ids").filter(pa.array(counts > 0)).cast(pa.string())
    names = _chunk(pc.list_flatten(pc.split_pattern(joined, SEPARATOR)))
    encoded = names.dictionary_encode()
    by_value = pc.sort_indices(encoded.dictionary).to_numpy()
    rank = np.empty(len(by_value), np.int64)
    rank[by_value] = np.arange(len(by_value))
    item = rank[encoded.indices.to_numpy(zero_copy_only=False)] if len(names) else np.zeros(0, np.int64)
    return UserStates(
        user_ids=user_ids,
        totals=_records(table.column("totals"), TOTALS)[0],
        item_ids=encoded.dictionary.take(pa.array(by_value)),
        user=np.repeat(np.arange(len(user_ids)), counts),
        item=item,
        rows=rows,
        log_user=np.repeat(np.arange(len(user_ids)), logged),
        log=log,
    )


def unreadable_users(table: pa.Table) -> list[str]:
    """Users whose state was written by another version, or is damaged: it has to be rebuilt from their events."""
    sizes = {name: _lengths(table.column(name)) for name in COLUMNS}
    bad = (sizes["totals"] != TOTALS.itemsize) | (sizes["items"] % ITEM_ROW.itemsize != 0)
    bad |= sizes["log"] % LOG_ROW.itemsize != 0
    names = pc.count_substring(table.column("item_ids").cast(pa.string()), SEPARATOR).to_numpy()
    named = np.where(sizes["item_ids"] > 0, names + 1, 0)
    bad |= named != sizes["items"] // ITEM_ROW.itemsize
    good = np.flatnonzero(~bad)
    totals, _ = _records(table.column("totals").take(pa.array(good)), TOTALS)
    bad[good[totals["format"] != FORMAT]] = True
    return table.column("user_id").filter(pa.array(bad)).to_pylist()


def _binary(records: NDArray[np.void], starts: NDArray[np.int64]) -> pa.Array:
    """One binary value per user: the bytes of its records."""
    offsets = pa.py_buffer((starts * records.dtype.itemsize).astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(starts) - 1, [None, offsets, pa.py_buffer(records.tobytes())])


def _records(column: pa.ChunkedArray, dtype: np.dtype) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All records of a column of byte strings, one after the other, and how many each user has."""
    data = b"".join(value for value in column.to_pylist() if value)
    return np.frombuffer(data, dtype), _lengths(column) // dtype.itemsize


def _lengths(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Bytes of each value, none for null."""
    return np.maximum(whole(pc.binary_length(column)), 0)


def _chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
