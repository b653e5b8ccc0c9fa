"""Item-to-item: which items are engaged with soon after (and before) an item, over all users.

For each user the items engaged with positively form a sequence in event time. Item *b* at distance *d* after *a* adds
`sqrt(w_a · w_b) / d^γ` to the pair a → b and a share of it to b → a; what is summed is divided by
`(degree_a + λ)^α · (degree_b + λ)^β`, so that what everybody engages with is not everything's neighbour (α = β = ½,
λ = 0 is the cosine of Sarwar et al. 2001; unequal exponents as in Aiolli 2013).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from services.core import columns
from services.profiles.reference import ReferenceStatistics

NEIGHBOUR_ID = "neighbour_id"
SCORE = "score"

STRONGEST = 0.99
"""Quantile of the items' best scores that becomes 1."""

CODED_ID = pa.dictionary(pa.int32(), pa.string())
"""Millions of pairs name each item some fifty times."""
PAIR_SCHEMA = pa.schema([(columns.ITEM_ID, CODED_ID), (NEIGHBOUR_ID, CODED_ID), (SCORE, pa.float32())])


@dataclass(frozen=True)
class CoEngagementConfig:
    """`window`: how far ahead in the sequence; `distance_decay` γ; `backward`: the share that b → a gets;
    `item_exponent` α, `neighbour_exponent` β and `shrinkage` λ normalise; `neighbours` are kept of each item;
    `sequence_cap`: latest items of a user that count; `max_pairs` bounds memory (12 bytes each).
    """

    window: int = 5
    distance_decay: float = 0.5
    backward: float = 0.5
    item_exponent: float = 0.5
    neighbour_exponent: float = 0.3
    shrinkage: float = 3.0
    neighbours: int = 50
    sequence_cap: int = 200
    max_pairs: int = 40_000_000


class CoEngagement:
    """Sums of pairs over chunks of users; every user's events must be in one chunk.

    Only the items of `item_ids` take part: a neighbour that cannot be recommended is of no use. When more than
    `max_pairs` different pairs have been seen, each item keeps its strongest `4 · neighbours` so far.
    """

    def __init__(
        self,
        item_ids: Sequence[str] | pa.Array,
        reference: ReferenceStatistics,
        config: CoEngagementConfig | None = None,
    ) -> None:
        self.config, self.reference = config or CoEngagementConfig(), reference
        self._item_ids = pa.array(item_ids, pa.string())
        count = len(self._item_ids)
        self._pairs = sparse.csr_matrix((count, count), dtype=np.float32)
        self._degree = np.zeros(count, np.float64)

    def add(self, events: pa.Table) -> None:
        """Add the pairs of one chunk of users (`user_id`, `item_id`, `type`, `timestamp`)."""
        user, item, weight = self._sequences(events)
        self._degree += np.bincount(item, weight, minlength=len(self._degree))
        self._pairs = self._pairs + self._chunk_pairs(user, item, weight)
        if self._pairs.nnz > self.config.max_pairs:
            self._pairs = strongest(self._pairs, 4 * self.config.neighbours)

    def pairs(self) -> pa.Table:
        """`item_id`, `neighbour_id`, `score` in (0, 1]: the strongest neighbours of each item, best first; ids
        dictionary-encoded.

        Scores are comparable between items; 1 is the 99th percentile of the items' best neighbours, and what is
        stronger: a few odd pairs must not set the scale of a shop.
        """
        normalised = self._normalised()
        rows = np.repeat(np.arange(normalised.shape[0], dtype=np.int32), np.diff(normalised.indptr))
        order = np.lexsort((normalised.indices, -normalised.data, rows))
        items, neighbours = (
            pa.DictionaryArray.from_arrays(codes[order].astype(np.int32), self._item_ids)
            for codes in (rows, normalised.indices)
        )
        return pa.table([items, neighbours, normalised.data[order].astype(np.float32)], schema=PAIR_SCHEMA)

    def _normalised(self) -> sparse.csr_matrix:
        config = self.config
        degree = np.maximum(self._degree + config.shrinkage, 1e-9)
        left = sparse.diags(degree**-config.item_exponent)
        right = sparse.diags(degree**-config.neighbour_exponent)
        kept = strongest((left @ self._pairs @ right).tocsr(), config.neighbours)
        if kept.nnz:
            best = kept.max(axis=1).toarray().ravel()
            scale = np.quantile(best[best > 0], STRONGEST, method="higher")
            kept.data = np.minimum(kept.data / scale, 1.0)
        return kept

    def _sequences(self, events: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """(user code, item index, weight) in order of user and time; repeats of an item in a row are one."""
        item = pc.index_in(events[columns.ITEM_ID].combine_chunks().cast(pa.string()), self._item_ids)
        order = [columns.TIMESTAMP, "sequence"] if "sequence" in events.column_names else [columns.TIMESTAMP]
        frame = pl.from_arrow(events.select([columns.USER_ID, columns.TYPE, *order]))
        importance = dict(self.reference.importance)
        runs = (
            frame.lazy()
            .with_columns(
                item=pl.from_arrow(item),
                weight=pl.col(columns.TYPE)
                .cast(pl.String)
                .replace_strict(importance, default=0.0, return_dtype=pl.Float64),
            )
            .filter(pl.col("item").is_not_null(), pl.col("weight") > 0)
            .sort(columns.USER_ID, *order, maintain_order=True)
            .with_columns(run=pl.struct(columns.USER_ID, "item").rle_id())
            .group_by("run", maintain_order=True)
            .agg(pl.col(columns.USER_ID).first(), pl.col("item").first(), pl.col("weight").max())
            .filter(pl.int_range(pl.len()).reverse().over(columns.USER_ID) < self.config.sequence_cap)
            .with_columns(user=pl.col(columns.USER_ID).rle_id())
            .collect()
        )
        return (
            runs["user"].to_numpy().astype(np.int64),
            runs["item"].to_numpy().astype(np.int64),
            runs["weight"].to_numpy(),
        )

    def _chunk_pairs(
        self, user: NDArray[np.int64], item: NDArray[np.int64], weight: NDArray[np.float64]
    ) -> sparse.csr_matrix:
        total = sparse.csr_matrix(self._pairs.shape, dtype=np.float32)
        root = np.sqrt(weight)
        for distance in range(1, self.config.window + 1):
            same = (user[:-distance] == user[distance:]) & (item[:-distance] != item[distance:])
            first, then = item[:-distance][same], item[distance:][same]
            value = (root[:-distance] * root[distance:])[same] / distance**self.config.distance_decay
            ahead = sparse.coo_matrix((value.astype(np.float32), (first, then)), shape=total.shape).tocsr()
            total = total + ahead + self.config.backward * ahead.T.tocsr()
        return total


def strongest(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """The `count` largest entries of each row; of equal ones those of the lower column."""
    matrix.sum_duplicates()
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((-matrix.data, rows))
    rank = np.arange(len(order)) - matrix.indptr[rows[order]]
    kept = np.sort(order[(rank < count) & (matrix.data[order] > 0)])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=matrix.shape[0]))])
    return sparse.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def co_engagement_pairs(
    chunks: Iterable[pa.Table],
    item_ids: Sequence[str] | pa.Array,
    reference: ReferenceStatistics,
    config: CoEngagementConfig | None = None,
) -> pa.Table:
    """The item-to-item pairs of `chunks` (event tables that each hold whole users): see `CoEngagement.pairs`."""
    sums = CoEngagement(item_ids, reference, config)
    for chunk in chunks:
        sums.add(chunk)
    return sums.pairs()
