"""How users engage with each item, as of a time: counts by window, popularity, trend, smoothed rates, mean rating.

The full recompute: events are summed per item in bounded memory (`engagement_sums`) and read out together
(`engagement_features`). What keeps the sums up to date from new events alone is `engagement_tail`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from services.core import columns
from services.profiles.engagement_features import aligned, feature_table, read_out, served_exposure
from services.profiles.engagement_sums import (
    NEWEST,
    STATE_COLUMNS,
    EngagementConfig,
    empty_sums,
    entering_sums,
    leaving_sums,
    merge_sums,
)
from services.profiles.reference import ReferenceStatistics

MERGE_ROWS = 50_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EngagementSums:
    """Sums per item over batches of events, in memory that follows the items and one batch.

    Ages are measured from `as_of`, popularity's decay from the newest event (`newest`), so that a shop whose data is
    old has the same order of popularity as it had then.
    """

    def __init__(
        self,
        as_of: datetime,
        reference: ReferenceStatistics,
        config: EngagementConfig | None = None,
        newest: datetime | None = None,
    ) -> None:
        self.as_of, self.reference, self.config = as_of, reference, config or EngagementConfig()
        self.newest = min(newest, as_of) if newest else as_of
        self.rows = 0
        self._parts: list[pl.DataFrame] = []
        self._pending = 0

    def add(self, events: pa.Table | pa.RecordBatch, *, users: bool = True) -> None:
        """Count a batch of events; those after `as_of` and those without an item are left out.

        `users`: count users too. All events of a user on an item must then be in one batch.
        """
        self._append(entering_sums(events, self.as_of, self.reference, self.config, users=users), len(events))

    def take_out(self, events: pa.Table | pa.RecordBatch) -> None:
        """Take events out of the window that each has left (column `window`)."""
        self._append(leaving_sums(events, self.reference, self.config), len(events))

    def merge(self) -> pl.DataFrame:
        """The sums so far: one row an item, sorted by item id: `item_id`, `newest`, `STATE_COLUMNS`."""
        merged = merge_sums(self._parts, self.config) if self._parts else empty_sums()
        self._parts, self._pending = [merged], len(merged)
        return merged

    def _append(self, part: pl.DataFrame, events: int) -> None:
        self.rows += events
        self._parts.append(part)
        self._pending += len(part)
        if len(self._parts) > 1 and self._pending > 4 * max(len(self._parts[0]), MERGE_ROWS):
            self.merge()


def engagement_features(sums: EngagementSums, served: pa.Table | None = None) -> pa.Table:
    """One row an item: `item_id`, `event_timestamp` = as of, and `names.ENGAGEMENT_FEATURES` as float32.

    Null where nothing is known: rates of a shop that records no impressions or visits, ratings, sentiments.
    `served` (`item_id`, `position`, `shown`) counts the lists that Portrait itself served; it stands in for impression
    events where the shop sends none.
    """
    totals = sums.merge()
    item_ids = totals[columns.ITEM_ID]
    exposure = served_exposure(served, sums.reference) if served is not None and len(served) else None
    features = read_out(
        {name: totals[name].to_numpy() for name in STATE_COLUMNS},
        totals[NEWEST].dt.epoch("us").to_numpy(),
        microseconds(sums.newest),
        None if exposure is None else aligned(item_ids, exposure),
        sums.config,
    )
    return feature_table(item_ids, features, pa.array([sums.as_of] * len(totals), pa.timestamp("us", "UTC")))


def compute_engagement(
    chunks: Iterable[pa.Table],
    as_of: datetime,
    reference: ReferenceStatistics,
    *,
    newest: datetime | None = None,
    served: pa.Table | None = None,
    config: EngagementConfig | None = None,
) -> pa.Table:
    """The engagement rows of all items in `chunks` (event tables that each hold whole users)."""
    sums = EngagementSums(as_of, reference, config, newest)
    for chunk in chunks:
        sums.add(chunk)
    return engagement_features(sums, served)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - EPOCH) // timedelta(microseconds=1)
