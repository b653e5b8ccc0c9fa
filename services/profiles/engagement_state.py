"""The engagement sums of all items in memory, with what was published of them: columns, updated in place.

About 250 bytes an item: 50 MB for 200,000 items.
"""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo import names
from services.core import columns
from services.profiles.engagement_features import read_out
from services.profiles.engagement_sums import (
    DECAYED,
    MICROSECONDS_A_DAY,
    NEWEST,
    STATE_COLUMNS,
    EngagementConfig,
)

Rows = NDArray[np.int64]

NEVER = np.iinfo(np.int64).min
"""`newest` of an item whose events are all gone."""


class ItemStates:
    """States by row; rows are sorted by item id (bytewise) and stay when their events go.

    `published`: (features, rows) float32 as last written, NaN where null; `known`: whether anything was ever written.
    """

    def __init__(self, config: EngagementConfig) -> None:
        self.config = config
        self.item_ids = pl.Series(columns.ITEM_ID, [], pl.String)
        self.newest: NDArray[np.int64] = np.empty(0, np.int64)
        self.values: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in STATE_COLUMNS}
        self.published: NDArray[np.float32] = np.empty((len(names.ENGAGEMENT_FEATURES), 0), np.float32)
        self.known: NDArray[np.bool_] = np.empty(0, np.bool_)

    def __len__(self) -> int:
        return len(self.newest)

    def add(self, sums: pl.DataFrame) -> Rows:
        """Add sums (`item_id`, `newest`, `STATE_COLUMNS`) to their items, new ones among them. Returns their rows.

        Sums without a `newest` only take out; of an item that has no state (its events were deleted, and it waits to
        be summed again) there is nothing to take out of.
        """
        arriving = sums.filter(pl.col(NEWEST).is_not_null())[columns.ITEM_ID]
        self.ensure(arriving)
        here = sums.filter(pl.col(columns.ITEM_ID).is_in(self.item_ids.implode()))
        rows = self.rows_of(here[columns.ITEM_ID])
        later = here[NEWEST].dt.epoch("us").fill_null(NEVER).to_numpy()
        newest = np.maximum(self.newest[rows], later)
        for name in STATE_COLUMNS:
            if name != DECAYED:
                self.values[name][rows] += here[name].to_numpy()
        decayed = self.values[DECAYED]
        decayed[rows] = decayed[rows] * self._decay(newest, self.newest[rows])
        decayed[rows] += here[DECAYED].to_numpy() * self._decay(newest, later)
        self.newest[rows] = newest
        return rows

    def put(self, sums: pl.DataFrame) -> Rows:
        """Replace the state of items. Returns their rows."""
        self.ensure(sums[columns.ITEM_ID])
        rows = self.rows_of(sums[columns.ITEM_ID])
        self.newest[rows] = sums[NEWEST].dt.epoch("us").to_numpy()
        for name in STATE_COLUMNS:
            self.values[name][rows] = sums[name].to_numpy()
        return rows

    def empty(self, item_ids: pl.Series) -> Rows:
        """Forget the sums of items whose events are all gone. Returns the rows of those that had any."""
        rows = self.rows_of(item_ids.filter(item_ids.is_in(self.item_ids.implode())))
        rows = rows[self.newest[rows] != NEVER]
        self.newest[rows] = NEVER
        for values in self.values.values():
            values[rows] = 0.0
        return rows

    def empty_all(self) -> None:
        """Forget all sums, not what was published."""
        self.newest[:] = NEVER
        for values in self.values.values():
            values[:] = 0.0

    def remember_published(self, table: pa.Table) -> None:
        """Take the latest feature rows (`item_id` and the features) for what was last written."""
        frame = pl.DataFrame(table)
        self.ensure(frame[columns.ITEM_ID])
        rows = self.rows_of(frame[columns.ITEM_ID])
        for row, name in zip(self.published, names.ENGAGEMENT_FEATURES, strict=True):
            row[rows] = frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
        self.known[rows] = True

    def stored(self, rows: Rows) -> pl.DataFrame:
        """The rows as the table `item_states` holds them."""
        times = pl.Series(NEWEST, self.newest[rows]).cast(pl.Datetime("us", "UTC"))
        values = [pl.Series(name, self.values[name][rows]) for name in STATE_COLUMNS]
        return pl.DataFrame([self.item_ids.gather(rows), times, *values])

    def features(self, served: NDArray[np.float64] | None) -> NDArray[np.float32]:
        """(features, rows) of all items that have events, NaN-free only where known; see `engagement_features`."""
        measured_at = int(self.newest.max()) if len(self) else 0
        newest = np.where(self.newest == NEVER, measured_at, self.newest)
        read = read_out(self.values, newest, measured_at, served, self.config)
        gone = self.newest == NEVER
        if gone.any():
            read[:, gone] = empty_features()[:, None]
        return read

    def rows_of(self, item_ids: pl.Series) -> Rows:
        """The rows of items that are here; of others, where they would be."""
        if item_ids.is_empty():
            return np.empty(0, np.int64)
        return self.item_ids.search_sorted(item_ids, side="left").to_numpy().astype(np.int64)

    def newest_time(self) -> datetime | None:
        """Event time of the newest event counted."""
        moment = int(self.newest.max()) if len(self) else NEVER
        return None if moment == NEVER else datetime.fromtimestamp(moment / 1e6, UTC)

    def ensure(self, item_ids: pl.Series) -> None:
        """Make rows for items that have none yet. The rows of all others may move."""
        fresh = item_ids.filter(~item_ids.is_in(self.item_ids.implode())).unique().sort()
        if fresh.is_empty():
            return
        at = self.rows_of(fresh) if len(self) else np.zeros(len(fresh), np.int64)
        self.item_ids = pl.concat([self.item_ids, fresh.rename(columns.ITEM_ID)]).sort()
        self.newest = np.insert(self.newest, at, NEVER)
        self.values = {name: np.insert(values, at, 0.0) for name, values in self.values.items()}
        self.published = np.insert(self.published, at, np.float32("nan"), axis=1)
        self.known = np.insert(self.known, at, False)

    def _decay(self, now: NDArray[np.int64], then: NDArray[np.int64]) -> NDArray[np.float64]:
        age = np.where(then == NEVER, 0, now - np.where(then == NEVER, now, then))
        return np.exp2(-age / (MICROSECONDS_A_DAY * self.config.half_life_days))


UNKNOWN_WITHOUT_EVENTS = frozenset({"click_rate", "purchase_rate", "rating_mean", "sentiment_mean"})
"""Features that are null, not 0, for an item without events."""


def empty_features() -> NDArray[np.float32]:
    """The features of an item whose events are all gone."""
    value = {name: np.nan for name in UNKNOWN_WITHOUT_EVENTS} | {"trend": 1.0}
    return np.array([value.get(name, 0.0) for name in names.ENGAGEMENT_FEATURES], np.float32)
