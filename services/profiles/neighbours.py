"""Similar users, and what they engage with: user-to-user collaborative filtering on long-term vectors.

Neighbours are looked for in a pool of users of bounded size, exactly (a blocked matrix product with top-k), so memory
does not grow with the shop. Measured on Amazon Beauty, leave-one-out, blending in the overlap of the users' items
raises Recall@10 of the neighbours' items by less than 0.006: not worth holding all users' items for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from services.features.nearest import one_thread
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import Taste
from services.profiles.config import ProfileConfig
from services.profiles.items import HeldItems
from services.profiles.near import Neighbours
from services.profiles.places import places
from services.profiles.ranked import SparseRows, at_most, rank_rows, row_starts
from services.profiles.state import UserStates

SHARPNESS = 4
"""A neighbour counts with the 4th power of its cosine: text vectors of one shop are all somewhat alike."""

USERS_AT_ONCE = 1_024
"""Users whose neighbours' items are summed in one sparse product."""


@dataclass(frozen=True)
class NeighbourPool:
    """p users that may be found as neighbours: `vectors` (p, D) float32, L2-normalised, in the vector space `space`."""

    user_ids: pa.Array
    vectors: NDArray[np.float32]
    space: str


def find_neighbours(
    states: UserStates,
    taste: Taste,
    space: str,
    pool: NeighbourPool,
    likes_of: Callable[[NDArray[np.int64]], tuple[sparse.csr_array, pa.Array]],
    config: ProfileConfig,
) -> list[Neighbours]:
    """The neighbours of each user of `states`, whose vectors are of the vector space `space`.

    `likes_of` (rows of the pool) gives (p, n) shares of weight on items, filled in those rows at least, and n item ids.
    """
    near = nearest_users(states.user_ids, taste.long_term, taste.has_vector, space, pool, config.neighbours_asked)
    likes, item_ids = likes_of(np.unique(near.columns))
    rows = places(states.item_ids, item_ids)
    items = neighbour_items(near, likes, taste.held.user, rows[taste.held.item], config)
    users = _first(near, config.neighbours).pairs(pool.user_ids)
    return [Neighbours(*both) for both in zip(users, items.pairs(item_ids), strict=True)]


def nearest_users(
    user_ids: pa.Array,
    vectors: NDArray[np.float32],
    known: NDArray[np.bool_],
    space: str,
    pool: NeighbourPool,
    count: int,
) -> SparseRows:
    """The `count` pool users of highest positive cosine to each of U users, never the user itself.

    `vectors` (U, D) in the vector space `space`, and `known` (U,), which users have one. Nobody is found in a pool of
    another space. The columns of the answer are rows of the pool.
    """
    asked = np.flatnonzero(known)
    if not len(asked) or not len(pool.user_ids) or pool.space != space:
        return SparseRows(np.zeros(len(known) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0))
    found = min(count + 1, len(pool.user_ids))
    with one_thread():
        cosine, column = faiss.knn(
            np.ascontiguousarray(vectors[asked]), pool.vectors, found, metric=faiss.METRIC_INNER_PRODUCT
        )
    own = places(user_ids.take(pa.array(asked)), pool.user_ids)
    row = np.repeat(asked, found)
    value = np.clip(cosine.ravel().astype(np.float64), -1.0, 1.0).round(5)
    column = column.ravel()
    kept = (column >= 0) & (column != np.repeat(own, found)) & (value > 0)
    row, column, value = row[kept], column[kept], value[kept]
    order = np.lexsort((column, -value, row))
    row, column, value = row[order], column[order], value[order]
    kept = at_most(row, count)
    return SparseRows(row_starts(row[kept], len(known)), column[kept], value[kept])


def liked_items(held: HeldItems, users: int, catalogue: Catalogue, count: int) -> sparse.csr_array:
    """(users, n) float32: each user's `count` heaviest liked items, with weights that sum to 1."""
    kept = (held.row >= 0) & (held.weight > 0)
    user, row, weight = held.user[kept], held.row[kept], held.weight[kept]
    order = np.lexsort((row, -weight, user))
    user, row, weight = user[order], row[order], weight[order]
    kept = at_most(user, count)
    user, row, weight = user[kept], row[kept], weight[kept]
    share = weight / np.bincount(user, weight, users)[user]
    return sparse.csr_array((share.astype(np.float32), (user, row)), shape=(users, catalogue.count))


def neighbour_items(
    neighbours: SparseRows,
    likes: sparse.csr_array,
    own_user: NDArray[np.int64],
    own_row: NDArray[np.int64],
    config: ProfileConfig,
) -> SparseRows:
    """What each user's neighbours like and the user has not engaged with, best first, scores from 0 to 1.

    The score of an item is Σ over neighbours of cosine⁴ · the neighbour's share of weight on it, over the user's best.
    `likes` (p, n) as from `liked_items`; `own_user`, `own_row` name the items that users hold, as rows of the n items
    (−1: not among them). The columns of the answer are rows of the n items.
    """
    users = len(neighbours.indptr) - 1
    pool, items = likes.shape
    closeness = sparse.csr_array(
        ((neighbours.values**SHARPNESS).astype(np.float32), neighbours.columns, neighbours.indptr), shape=(users, pool)
    )
    kept = own_row >= 0
    own = sparse.csr_array((np.ones(kept.sum(), bool), (own_user[kept], own_row[kept])), shape=(users, items))
    parts = [
        _unseen(closeness[start : start + USERS_AT_ONCE] @ likes, own[start : start + USERS_AT_ONCE], config)
        for start in range(0, users, USERS_AT_ONCE)
    ]
    offsets = np.cumsum([0] + [part.indptr[-1] for part in parts])
    return SparseRows(
        indptr=np.concatenate(
            [[0], *(part.indptr[1:] + offset for part, offset in zip(parts, offsets, strict=False))]
        ).astype(np.int64),
        columns=np.concatenate([np.zeros(0, np.int64), *(part.columns for part in parts)]),
        values=np.concatenate([np.zeros(0), *(part.values for part in parts)]),
    )


def _unseen(scores: sparse.csr_array, own: sparse.csr_array, config: ProfileConfig) -> SparseRows:
    left = sparse.csr_array(scores - scores.multiply(own))
    best = rank_rows(SparseRows.of(left), config.neighbour_items, 1e-9)
    return SparseRows(best.indptr, best.columns, best.values / best.values[best.indptr[best.row()]])


def _first(ranked: SparseRows, count: int) -> SparseRows:
    return ranked.where(at_most(ranked.row(), count))
