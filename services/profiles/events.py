"""A chunk of users' events as aligned arrays: what every profile formula works on."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core import columns
from services.core.native import native, read
from services.core.types import EventType
from services.profiles.catalogue import Catalogue
from services.profiles.places import places, sorted_codes

TYPES: tuple[str, ...] = tuple(EventType)
KNOWN_TYPES = pa.array(TYPES, pa.string())
CODE: dict[str, int] = {name: code for code, name in enumerate(TYPES)}

COLUMNS: tuple[str, ...] = (
    columns.USER_ID,
    columns.ITEM_ID,
    columns.TYPE,
    columns.TIMESTAMP,
    "position",
    "dwell_ms",
    "depth",
    "price",
    "rating",
    "sentiment",
)
"""The columns of the events table that profiles read."""

NUMBERS = COLUMNS[4:]
"""Those that are numbers, which an event may lack."""

MOMENT = pa.timestamp("us", tz="UTC")

SEQUENCE = "sequence"
"""Read as well where states are kept."""


@cache
def one_of(*types: EventType) -> NDArray[np.bool_]:
    """(T + 1,) by code, read-only: True for these types; the last is that of −1, an unknown type."""
    wanted = np.zeros(len(TYPES) + 1, bool)
    wanted[[CODE[t] for t in types]] = True
    wanted.setflags(write=False)
    return wanted


@dataclass(frozen=True)
class EventBatch:
    """m events of U users, ordered by user, then event time, then arrival.

    `user` (m,) rows into `user_ids`; `item` (m,) codes into `item_ids` (of this chunk, in order; −1 without
    an item);
    `row` (m,) rows into the catalogue, −1 for an item it does not hold; `type` (m,) codes into `TYPES`; `time` (m,)
    epoch seconds; `sequence` (m,) the place in the event log, −1 where it was not read; the rest (m,) float64, NaN
    where the event does not carry it.
    """

    user_ids: pa.Array
    user: NDArray[np.int64]
    item_ids: pa.Array
    item: NDArray[np.int64]
    row: NDArray[np.int64]
    type: NDArray[np.int8]
    time: NDArray[np.float64]
    sequence: NDArray[np.int64]
    position: NDArray[np.float64]
    dwell_ms: NDArray[np.float64]
    depth: NDArray[np.float64]
    price: NDArray[np.float64]
    rating: NDArray[np.float64]
    sentiment: NDArray[np.float64]

    @property
    def users(self) -> int:
        return len(self.user_ids)

    @property
    def count(self) -> int:
        return len(self.user)


def build_batch(table: pa.Table, catalogue: Catalogue) -> EventBatch:
    """The batch of an events table with `COLUMNS`, in any order; of events at the same time the later in the log
    (`sequence`, where the table has it), else the later row, is later."""
    user_ids, user = sorted_codes(_as(pa.string(), table.column(columns.USER_ID)))
    item_ids, item = sorted_codes(_as(pa.string(), table.column(columns.ITEM_ID)))
    time = _as(MOMENT, table.column(columns.TIMESTAMP)).to_numpy().view(np.int64) / 1e6
    sequence = np.full(len(user), -1)
    if SEQUENCE in table.column_names:
        sequence = _as(pa.int64(), table.column(SEQUENCE)).to_numpy()
    rows = np.append(catalogue.indices(item_ids), -1)  # code −1, an event without an item, finds this −1
    arrays = {
        "user": user,
        "item": item,
        "row": rows[item],
        "type": places(_as(pa.string(), table.column(columns.TYPE)), KNOWN_TYPES).astype(np.int8),
        "time": time,
        "sequence": sequence,
        **{name: _numbers(table.column(name)) for name in NUMBERS},
    }
    if not in_order(user, time, sequence):
        order = np.lexsort((sequence, time, user))
        arrays = {name: array[order] for name, array in arrays.items()}
    return EventBatch(user_ids=user_ids, item_ids=item_ids, **arrays)


@native(read(np.int64), read(np.float64), read(np.int64))
def in_order(user: NDArray[np.int64], time: NDArray[np.float64], sequence: NDArray[np.int64]) -> bool:
    """Whether events come by user, then time, then place in the log."""
    for at in range(1, len(user)):
        if (user[at], time[at], sequence[at]) < (user[at - 1], time[at - 1], sequence[at - 1]):
            return False
    return True


def _as(kind: pa.DataType, column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column if column.type == kind else column.cast(kind)  # which costs as much for nothing as for something


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """As float64, NaN for null."""
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    return _as(pa.float64(), column).to_numpy()
