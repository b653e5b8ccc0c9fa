"""Up to five interests of a user: the items that best stand for what the user engages with.

Greedy facility location (Nemhauser, Wolsey & Fisher 1978): choose medoids one by one so that Σ w_j · max_m cos(j, m)
over the user's items j grows most; stop when a further medoid adds little. Greedy is within 1 − 1/e of the optimum,
needs no random start, and is quick: a user's cosines fit the processor's cache.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.core.native import native, read
from services.profiles.catalogue import Catalogue
from services.profiles.config import ProfileConfig
from services.profiles.items import HeldItems

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = NDArray[np.float32]


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
    vectors = np.ascontiguousarray(catalogue.vectors)
    bounds = config.interest_items, config.max_interests, config.interest_min_gain
    return Interests(*_clusters(held.user, held.row, held.weight, catalogue.has_vector, vectors, *bounds))


@native(reassociated=True)
def assign_medoids(vectors: Matrix, rows: Ints, weights: Floats, most: int, min_gain: float) -> Ints:
    """(n,) for each item of a user the place of its medoid, one of `most`, each of which adds `min_gain`.

    `vectors` holds those of the items in its `rows` (n,); `weights` (n,). Ties go to the earlier item, so the items are
    to be in the order of their ids.
    """
    n = len(rows)
    similarity = _similarities(vectors, rows)
    total = 0.0
    for weight in weights:
        total += weight
    share, covered, assigned = np.empty(n, np.float32), np.zeros(n, np.float32), np.zeros(n, np.int64)
    for item in range(n):
        share[item] = weights[item] / total
    for round_ in range(min(most, n)):
        best, best_gain = 0, np.float32(-1.0)
        for candidate in range(n):
            closeness = similarity[candidate]
            gain = np.float32(0.0)
            for item in range(n):
                gain += max(closeness[item] - covered[item], np.float32(0.0)) * share[item]
            gain = _rounded(gain)
            if gain > best_gain:
                best, best_gain = candidate, gain
        if round_ and best_gain < np.float32(min_gain):
            break
        closeness = similarity[best]
        for item in range(n):
            if round_ == 0 or closeness[item] > covered[item]:
                assigned[item], covered[item] = best, closeness[item]
    return assigned


@native(reassociated=True)
def _similarities(vectors: Matrix, rows: Ints) -> Matrix:
    """(n, n) cosines of the vectors in some rows, none below 0; eight at once, as loading costs more than adding."""
    n, dimension = len(rows), vectors.shape[1]
    found = np.empty((n, n), np.float32)
    for i in range(0, n, 2):
        a, b = vectors[rows[i]], vectors[rows[min(i + 1, n - 1)]]
        for j in range(i, n, 4):
            c, d = vectors[rows[j]], vectors[rows[min(j + 1, n - 1)]]
            e, f = vectors[rows[min(j + 2, n - 1)]], vectors[rows[min(j + 3, n - 1)]]
            ac = ad = ae = af = bc = bd = be = bf = np.float32(0.0)
            for k in range(dimension):
                ac += a[k] * c[k]
                ad += a[k] * d[k]
                ae += a[k] * e[k]
                af += a[k] * f[k]
                bc += b[k] * c[k]
                bd += b[k] * d[k]
                be += b[k] * e[k]
                bf += b[k] * f[k]
            for place, cosine in enumerate((ac, ad, ae, af, bc, bd, be, bf)):
                one, other = min(i + place // 4, n - 1), min(j + place % 4, n - 1)
                found[one, other] = found[other, one] = _rounded(min(max(cosine, np.float32(0.0)), np.float32(1.0)))
    return found


@native()
def _rounded(value: np.float32) -> np.float32:
    """To five decimals: the order of sums must not decide which of two alike items stands for the other."""
    scale = np.float32(1e5)
    return np.float32(np.rint(value * scale)) / scale


@native()
def _outweighs(one: float, other: float) -> bool:
    """Whether a share is larger by more than the rounding error of sums."""
    return np.rint(one * 1e9) > np.rint(other * 1e9)


@native()
def _heaviest(row: Ints, weight: Floats, has_vector: NDArray[np.bool_], start: int, end: int, chosen: Ints) -> int:
    """How many of the liked items with a vector from `start` to `end` are `chosen`: the heaviest, in their order."""
    count = lightest = 0
    for at in range(start, end):
        if weight[at] <= 0 or row[at] < 0 or not has_vector[row[at]]:
            continue
        if count == len(chosen):
            if weight[at] <= weight[chosen[lightest]]:
                continue
            for place in range(lightest, count - 1):
                chosen[place] = chosen[place + 1]
            count -= 1
        chosen[count] = at
        count += 1
        if count == len(chosen):
            lightest = 0
            for place in range(count):
                if weight[chosen[place]] <= weight[chosen[lightest]]:
                    lightest = place
    return count


@native(
    *(read(np.int64), read(np.int64), read(np.float64), read(np.bool_), read(np.float32, 2)),
    *(np.int64, np.int64, np.float64),
)
def _clusters(
    user: Ints,
    row: Ints,
    weight: Floats,
    has_vector: NDArray[np.bool_],
    vectors: Matrix,
    most_items: int,
    most: int,
    min_gain: float,
) -> tuple[Ints, Ints, Floats, Ints, Ints, Floats]:
    """The fields of `Interests` from those of `HeldItems`, user by user."""
    held = len(user)
    cluster_user, medoid, share = np.empty(held, np.int64), np.empty(held, np.int64), np.empty(held)
    member_cluster, member_row, member_share = np.empty(held, np.int64), np.empty(held, np.int64), np.empty(held)
    chosen, place, in_cluster = np.empty(most_items, np.int64), np.empty(most_items, np.int64), np.empty(most_items)
    clusters = members = start = end = 0
    while start < held:
        while end < held and user[end] == user[start]:
            end += 1
        n = _heaviest(row, weight, has_vector, start, end, chosen)
        rows, weights = member_row[members : members + n], member_share[members : members + n]
        for item in range(n):
            rows[item], weights[item] = row[chosen[item]], weight[chosen[item]]
        assigned = assign_medoids(vectors, rows, weights, most, min_gain)
        total = 0.0
        in_cluster[:n] = 0.0
        for item in range(n):
            total += weights[item]
            in_cluster[assigned[item]] += weights[item]
        first = clusters
        for head in range(n):
            if in_cluster[head] > 0:
                at = clusters
                while at > first and _outweighs(in_cluster[head] / total, share[at - 1]):
                    medoid[at], share[at] = medoid[at - 1], share[at - 1]
                    at -= 1
                medoid[at], share[at] = head, in_cluster[head] / total
                clusters += 1
        for at in range(first, clusters):
            place[medoid[at]] = at
            cluster_user[at], medoid[at] = user[start], rows[medoid[at]]
        for item in range(n):
            member_cluster[members + item] = place[assigned[item]]
            weights[item] /= in_cluster[assigned[item]]
        members += n
        start = end
    found = cluster_user[:clusters], medoid[:clusters], share[:clusters]
    return *found, member_cluster[:members], member_row[:members], member_share[:members]
