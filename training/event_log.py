"""A shop's events in order, with users and items as codes: what splits are cut from."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core import columns
from services.core.errors import InvalidInput
from services.core.types import EventType

STRONG_TYPES = (EventType.PURCHASE, EventType.CART, EventType.RATING, EventType.REVIEW, EventType.CLICK, EventType.VIEW)
"""What is predicted, the first of them that the data hold."""


NOT_ENGAGED = (EventType.IMPRESSION, EventType.HIDE, EventType.SEARCH)
"""Being shown an item, or rejecting it, is not engaging with it: history holds what comes of a user's own will."""


@dataclass(frozen=True)
class EventLog:
    """Events sorted by user and time. `user` and `item` (int32, one a row) are codes into `user_ids` and `item_ids`.

    `target` marks the events that count as hits when predicted, `engaged` those that speak for the item. Items are the
    catalogue in its order: all of them are ranked.
    """

    events: pa.Table
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    target: NDArray[np.bool_]
    engaged: NDArray[np.bool_]
    user_ids: pa.Array
    item_ids: pa.Array
    target_type: str

    @property
    def user_count(self) -> int:
        return len(self.user_ids)

    @property
    def item_count(self) -> int:
        return len(self.item_ids)

    @property
    def synthetic_time(self) -> bool:
        """Whether the source had an order of events, but no times."""
        if "synthetic_time" not in self.events.column_names:
            return False
        return bool(pc.any(self.events["synthetic_time"].fill_null(False)).as_py())

    def timestamps(self) -> NDArray[np.int64]:
        """Event times in microseconds since the epoch."""
        return self.events[columns.TIMESTAMP].cast(pa.int64()).to_numpy()


def make_event_log(
    events: pa.Table, item_ids: Sequence[str] | pa.Array | None = None, target_types: Collection[str] | None = None
) -> EventLog:
    """The log of an event table. `item_ids`: the catalogue (the events' items when None); other items are left out.

    `target_types`: the event types that are predicted; when None, purchases if there are any, else the next of
    `STRONG_TYPES`. Events of one moment keep their order in the table (or that of a column `sequence`).

    Raises:
        InvalidInput: no event is of a target type on a known item.
    """
    frame = pl.from_arrow(events).filter(pl.col(columns.ITEM_ID).is_not_null())
    catalogue = (
        pa.array(frame[columns.ITEM_ID].unique().sort().to_list(), pa.string())
        if item_ids is None
        else pa.array(item_ids, pa.string())
    )
    order = [columns.USER_ID, columns.TIMESTAMP, *(["sequence"] if "sequence" in frame.columns else [])]
    frame = frame.sort(order, maintain_order=True)
    item = pc.index_in(frame[columns.ITEM_ID].to_arrow().cast(pa.string()), catalogue)
    frame = frame.with_columns(_item=pl.Series(item.to_numpy(zero_copy_only=False))).filter(
        pl.col("_item").is_not_nan()
    )
    kinds = _target_types(frame[columns.TYPE].unique().to_list(), target_types)
    target = frame[columns.TYPE].cast(pl.String).is_in(kinds).to_numpy()
    if not target.any():
        raise InvalidInput(
            f"None of the events is a {' or '.join(kinds)} of an item of the catalogue: nothing can be predicted. "
            "Check that events and items name the items alike"
        )
    code = frame[columns.USER_ID].rle_id()
    return EventLog(
        events=frame.drop("_item").to_arrow(compat_level=pl.CompatLevel.oldest()),
        user=code.to_numpy().astype(np.int32),
        item=frame["_item"].to_numpy().astype(np.int32),
        target=target,
        engaged=~frame[columns.TYPE].cast(pl.String).is_in([kind.value for kind in NOT_ENGAGED]).to_numpy(),
        user_ids=pa.array(frame[columns.USER_ID].unique(maintain_order=True).to_list(), pa.string()),
        item_ids=catalogue,
        target_type="+".join(kinds),
    )


def _target_types(present: Collection[str], asked: Collection[str] | None) -> list[str]:
    if asked is not None:
        return sorted(asked)
    return [next((kind.value for kind in STRONG_TYPES if kind.value in present), EventType.PURCHASE.value)]
