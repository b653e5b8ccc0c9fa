"""Item-to-item pairs, put into the rows of a snapshot."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.names import ITEM_ID
from services.features.arrow_columns import column, numbers, rows_of
from services.features.snapshot import ItemSnapshot

NEIGHBOUR_ID = "neighbour_id"
NEIGHBOURS = 50
"""Of each item at most so many are kept."""
CHUNK = 65_536
"""Items that are ranked at a time."""


def sorted_pairs(pairs: pa.Table, ids: pa.Array) -> pa.Table:
    """Pairs of the items of `ids`, coded by them, ascending."""
    left, right = rows_of(ids, column(pairs, ITEM_ID)), rows_of(ids, column(pairs, NEIGHBOUR_ID))
    score = numbers(pairs, "score", np.float32)
    key = left.astype(np.int64) << 32 | right
    known = (left >= 0) & (right >= 0)
    if not known.all() or (key[1:] < key[:-1]).any():
        order = np.argsort(key, kind="stable")
        order = order[known[order]]
        left, right, score = left[order], right[order], score[order]
    return pa.table(
        {
            ITEM_ID: pa.DictionaryArray.from_arrays(left, ids),
            NEIGHBOUR_ID: pa.DictionaryArray.from_arrays(right, ids),
            "score": score,
        }
    )


def neighbour_matrix(pairs: pa.Table, ids: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The strongest neighbours of each item int32 (n, K), −1 padding, and their scores (n, K), descending.

    `pairs`: as `sorted_pairs` gives them.
    """
    left, right = rows_of(ids, column(pairs, ITEM_ID)), rows_of(ids, column(pairs, NEIGHBOUR_ID))
    score = column(pairs, "score").to_numpy()
    neighbours = np.full((len(ids), NEIGHBOURS), -1, np.int32)
    scores = np.zeros((len(ids), NEIGHBOURS), np.float32)
    width = 0
    for start in range(0, len(ids), CHUNK):
        first, last = np.searchsorted(left, (start, start + CHUNK)).tolist()
        some = slice(first, last)
        rows, rank, near, strength = _ranked(left[some], right[some], score[some])
        neighbours[rows, rank], scores[rows, rank] = near, strength
        width = max(width, int(rank.max(initial=-1)) + 1)
    return neighbours[:, :width], scores[:, :width]


def pairs_of(snapshot: ItemSnapshot) -> pa.Table:
    """All items of a snapshot with their neighbours (item_id, neighbour_id, score): what the next one may be built
    from."""
    row, place = np.nonzero(snapshot.neighbours >= 0)
    ids = pa.array(list(snapshot.item_ids), pa.string())
    near = snapshot.neighbours[row, place]
    return pa.table(
        {
            ITEM_ID: pa.DictionaryArray.from_arrays(pa.array(row, pa.int32()), ids),
            NEIGHBOUR_ID: pa.DictionaryArray.from_arrays(pa.array(near, pa.int32()), ids),
            "score": snapshot.neighbour_scores(slice(None))[row, place],
        }
    )


def _ranked(
    left: NDArray[np.int32], right: NDArray[np.int32], score: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Row, rank below `NEIGHBOURS`, neighbour and score of the pairs that count; equal scores by neighbour."""
    score = np.clip(score, 0, 1)
    keep = (left != right) & (score > 0)
    left, right, score = left[keep], right[keep], score[keep]
    order = np.lexsort((right, -score, left))
    left, right, score = left[order], right[order], score[order]
    rank = np.arange(left.size) - np.searchsorted(left, left)
    keep = rank < NEIGHBOURS
    return left[keep], rank[keep], right[keep], score[keep]
