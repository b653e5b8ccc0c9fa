"""Lists that another program made, so that they stand in the same table as our models."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.core import columns
from services.core.errors import InvalidInput
from training.splits import Split

RANK = "rank"


class ForeignLists:
    """Ranks by a Parquet or CSV file of `user_id`, `item_id`, `rank` (from 1). Items that a user has are left out, as
    for every model; users without rows get nothing."""

    deterministic = True

    def __init__(self, name: str, path: Path) -> None:
        self.name, self._path = name, path

    def fit(self, split: Split) -> None:
        """Read the file. Raises InvalidInput where it has other columns."""
        self.split = split
        read = pl.read_csv if self._path.suffix == ".csv" else pl.read_parquet
        frame = read(self._path)
        missing = {columns.USER_ID, columns.ITEM_ID, RANK} - set(frame.columns)
        if missing:
            raise InvalidInput(f"{self._path} lacks the columns {', '.join(sorted(missing))}")
        frame = frame.sort(columns.USER_ID, RANK)
        self._user = _codes(frame[columns.USER_ID], split.log.user_ids)
        self._item = _codes(frame[columns.ITEM_ID], split.log.item_ids)

    def recommend(self, users: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """See `training.recommender.Recommender`."""
        seen = self.split.seen
        pair = self._user.astype(np.int64) * self.split.log.item_count + self._item
        owner = np.repeat(np.arange(self.split.log.user_count, dtype=np.int64), np.diff(seen.indptr))
        known = (self._user >= 0) & (self._item >= 0)
        good = known & ~np.isin(pair, owner * self.split.log.item_count + seen.indices)
        user, item = self._user[good], self._item[good]
        order = np.argsort(user, kind="stable")
        user, item = user[order], item[order]
        place = np.arange(len(user)) - np.searchsorted(user, user)
        ranked = np.full((self.split.log.user_count, k), -1, np.int32)
        ranked[user[place < k], place[place < k]] = item[place < k]
        return ranked[users]


def _codes(names: pl.Series, known: pa.Array) -> NDArray[np.int32]:
    found = pc.index_in(names.cast(pl.String).to_arrow().cast(pa.string()), value_set=known)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)
