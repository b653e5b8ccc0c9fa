"""Up to five interests of a user: the items that best stand for what the user engages with.

Greedy facility location (Nemhauser, Wolsey & Fisher 1978): choose medoids one by one so that Σ w_j · max_m cos(j, m)
over the user's items j grows most; stop when a further medoid adds little. Greedy is within 1 − 1/e of the optimum,
needs no random start, and works on many users at once as padded batches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.items import HeldItems
from services.profiles.ranked import at_most

BATCH_FLOATS = 1 << 22
"""Size of one padded batch of vectors or similarities: 16 MiB as float32."""


@dataclass(frozen=True)
class Interests:
    """c clusters, ordered by user, then weight, heaviest first.

    `user` (c,); `medoid` (c,) catalogue row; `weight` (c,) share of the user's weight, together 1. The members of
    all clusters: `member_cluster`, `member_row` (catalogue) and `member_share` of the cluster's weight.
    """

    user: NDArray[np.int64]
    medoid: NDArray[np.int64]
    weight: NDArray[np.float64]
    member_cluster: NDArray[np.int64]
    member_row: NDArray[np.int64]
    member_share: NDArray[np.float64]


def interests(held: HeldItems, catalogue: Catalogue, config: ProfileConfig) -> Interests:
    """Cluster the heaviest positive items of each user that have a vector."""
    user, row, weight = _heaviest(held, catalogue, config)
    medoid = np.full(len(user), -1, np.int64)
    starts = np.flatnonzero(np.diff(user, prepend=-1))
    sizes = np.diff(np.append(starts, len(user)))
    for size, members in _padded_batches(starts, sizes, catalogue.vectors.shape[1]):
        index = starts[members][:, None] + np.arange(size)
        inside = np.arange(size) < sizes[members][:, None]
        index = np.where(inside, index, starts[members][:, None])
        vectors = catalogue.vectors[row[index]] * inside[:, :, None]
        chosen = assign_medoids(vectors, np.where(inside, weight[index], 0.0), config)
        medoid[index[inside]] = np.take_along_axis(index, chosen, axis=1)[inside]
    return _clusters(user, row, weight, medoid)


def assign_medoids(
    vectors: NDArray[np.float32], weights: NDArray[np.float64], config: ProfileConfig
) -> NDArray[np.int64]:
    """(B, n) for each item of B users the place of its medoid. `vectors` (B, n, D), `weights` (B, n), 0 = padding.

    Ties go to the earlier item, so the items are to be in the order of their ids.
    """
    batch, n = weights.shape
    similarity = np.clip(np.matmul(vectors, vectors.transpose(0, 2, 1)), 0.0, 1.0).round(5)
    share = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    covered = np.zeros((batch, n), np.float32)
    assigned = np.zeros((batch, n), np.int64)
    real = weights > 0
    going = np.arange(batch)
    for round_ in range(min(config.max_interests, n)):
        gain = np.maximum(similarity[going] - covered[going][:, None, :], 0.0)
        gain = np.where(real[going], np.einsum("bcj,bj->bc", gain, share[going]).round(5), -1.0)
        best = gain.argmax(axis=1)
        kept = gain[np.arange(len(going)), best] >= (config.interest_min_gain if round_ else 0.0)
        going, best = going[kept], best[kept]
        if not len(going):
            break
        closeness = similarity[going, best]
        closer = closeness > covered[going] if round_ else np.ones_like(closeness, bool)
        assigned[going] = np.where(closer, best[:, None], assigned[going])
        covered[going] = np.maximum(covered[going], closeness)
    return assigned


def _heaviest(
    held: HeldItems, catalogue: Catalogue, config: ProfileConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(user, catalogue row, weight) of each user's heaviest liked items, by user and item id."""
    index = np.flatnonzero((held.weight > 0) & (held.row >= 0))
    index = index[catalogue.has_vector[held.row[index]]]
    index = index[np.lexsort((held.item[index], -held.weight[index], held.user[index]))]
    index = index[at_most(held.user[index], config.interest_items)]
    index = np.sort(index)  # held rows are by user and item id
    return held.user[index], held.row[index], held.weight[index]


def _padded_batches(starts: NDArray[np.int64], sizes: NDArray[np.int64], dimension: int):
    """(padded size, users): users of the same rounded-up size together, few enough to fit the memory bound."""
    padded = np.where(sizes <= 16, sizes, -(-sizes // 8) * 8)
    for size in np.unique(padded):
        users = np.flatnonzero(padded == size)
        step = max(1, BATCH_FLOATS // int(size * max(size, dimension)))
        for start in range(0, len(users), step):
            yield int(size), users[start : start + step]


def _clusters(
    user: NDArray[np.int64], row: NDArray[np.int64], weight: NDArray[np.float64], medoid: NDArray[np.int64]
) -> Interests:
    total = np.bincount(user, weight)
    heads, cluster = np.unique(medoid, return_inverse=True)
    in_cluster = np.bincount(cluster, weight, len(heads))
    share = in_cluster / total[user[heads]] if len(heads) else in_cluster
    order = np.lexsort((heads, -share.round(9), user[heads]))
    place = np.empty(len(heads), np.int64)
    place[order] = np.arange(len(heads))
    return Interests(
        user=user[heads][order],
        medoid=row[heads][order],
        weight=share[order],
        member_cluster=place[cluster],
        member_row=row,
        member_share=weight / in_cluster[cluster] if len(heads) else weight,
    )
