"""A portrait in the numbers of one item snapshot: looked up once a request, used for every candidate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait, unpack_vector
from services.features.snapshot import ItemSnapshot

RECENT_ITEMS = 20
"""How many of the latest positive items speak through item-to-item scores."""
RECENT_DECAY = 0.7
"""What each step back in the user's history takes off an item's say."""

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int32]


@dataclass(frozen=True)
class SparseScores:
    """Scores of a few items: `indices` int32 ascending and distinct, `scores` float32."""

    indices: IndexArray
    scores: FloatArray

    def of(self, wanted: IndexArray) -> FloatArray:
        """The score of each wanted item, 0 where there is none, float32 (n,)."""
        if not self.indices.size:
            return np.zeros(wanted.size, np.float32)
        at = np.searchsorted(self.indices, wanted)
        at[at == self.indices.size] = 0
        return np.where(self.indices[at] == wanted, self.scores[at], np.float32(0))


@dataclass(frozen=True)
class PortraitView:
    """What the transforms need of a user. D is the snapshot's dimension.

    `long_term`, `short_term`, `last` float32 (D,): zero where the user has none in the snapshot's space; `last` is the
    vector of the latest positive item. `interests` float32 (i, D): the medoids' vectors. `category_weight` float32
    (categories + 1,) and `brand_weight` float32 (brands + 1,): affinity by code, the last entry 0 for "none".
    `log_price`: natural logarithm of the typical price, NaN unknown; `price_width`: half the 10–90% band in logarithms.
    `item_to_item`: summed decayed neighbour scores of the recent items; `last_item_to_item`: of the latest alone;
    `neighbour_items`: of similar users; `engaged_at`: time of the last engagement, epoch seconds (as float64
    `engaged_times` beside its indices). `history`: how many positive items are known, up to the 50 kept.
    """

    long_term: FloatArray
    short_term: FloatArray
    last: FloatArray
    interests: FloatArray
    category_weight: FloatArray
    brand_weight: FloatArray
    log_price: float
    price_width: float
    item_to_item: SparseScores
    last_item_to_item: SparseScores
    neighbour_items: SparseScores
    engaged: IndexArray
    engaged_times: NDArray[np.float64]
    history: int
    confidence: float


def view_portrait(portrait: Portrait, snapshot: ItemSnapshot) -> PortraitView:
    """The portrait in the snapshot's numbers. Vectors of another space are not comparable and so not used."""
    comparable = portrait.space == snapshot.space
    ids = [item.item_id for item in (*portrait.recent_items, *portrait.interests)]
    ids += [item_id for item_id, _ in portrait.neighbour_items]
    found, held = snapshot.indices(ids), len(portrait.recent_items)
    recent, medoids, neighbours = np.split(found, (held, held + len(portrait.interests)))
    weights = np.array([item.weight for item in portrait.recent_items], np.float32)
    times = np.array([item.timestamp for item in portrait.recent_items], np.float64)
    engaged, engaged_times = _latest(recent, times)
    positive = recent[(recent >= 0) & (weights > 0)]
    log_price, price_width = _price(portrait)
    return PortraitView(
        long_term=_vector(portrait.long_term if comparable else None, snapshot),
        short_term=_vector(portrait.short_term if comparable else None, snapshot),
        last=snapshot.vectors[positive[0]] if positive.size else np.zeros(snapshot.dimension, np.float32),
        interests=snapshot.vectors[medoids[medoids >= 0]],
        category_weight=_weights(portrait.categories, snapshot.category_index),
        brand_weight=_weights(portrait.brands, snapshot.brand_index),
        log_price=log_price,
        price_width=price_width,
        item_to_item=_item_to_item(positive[:RECENT_ITEMS], snapshot),
        last_item_to_item=_item_to_item(positive[:1], snapshot),
        neighbour_items=_known_scores(neighbours, [score for _, score in portrait.neighbour_items]),
        engaged=engaged,
        engaged_times=engaged_times,
        history=positive.size,
        confidence=portrait.confidence,
    )


def _vector(data: bytes | None, snapshot: ItemSnapshot) -> FloatArray:
    vector = unpack_vector(data)
    if vector is None or vector.size != snapshot.dimension:
        return np.zeros(snapshot.dimension, np.float32)
    return vector


def _weights(pairs: tuple[tuple[str, float], ...], codes: dict[str, int]) -> FloatArray:
    weights = np.zeros(len(codes) + 1, np.float32)
    for name, weight in pairs:  # at most a few dozen
        code = codes.get(name)
        if code is not None:
            weights[code] = weight
    return weights


def _price(portrait: Portrait) -> tuple[float, float]:
    price = portrait.price
    if price is None or not price.typical > 0 or not price.high >= price.low > 0:
        return float("nan"), 1.0
    return float(np.log(price.typical)), max(float(np.log(price.high / price.low)) / 2, 0.05)


def _item_to_item(recent: IndexArray, snapshot: ItemSnapshot) -> SparseScores:
    """Σ decay^rank · score over the recent items (newest first) that have an item as neighbour."""
    decay = np.float32(RECENT_DECAY) ** np.arange(recent.size, dtype=np.float32)
    neighbours = snapshot.neighbours[recent].ravel()
    scores = (snapshot.neighbour_scores(recent) * decay[:, None]).ravel()
    return _summed(neighbours[neighbours >= 0], scores[neighbours >= 0])


def _known_scores(indices: IndexArray, scores: list[float]) -> SparseScores:
    """The scores of those items that the snapshot has."""
    known = indices >= 0
    return _summed(indices[known], np.array(scores, np.float32)[known])


def _summed(indices: IndexArray, scores: FloatArray) -> SparseScores:
    if not indices.size:
        return SparseScores(indices.astype(np.int32), scores.astype(np.float32))
    distinct, position = np.unique(indices, return_inverse=True)
    return SparseScores(distinct, np.bincount(position, scores).astype(np.float32))


def _latest(recent: IndexArray, times: NDArray[np.float64]) -> tuple[IndexArray, NDArray[np.float64]]:
    """The known items in ascending order, each once, with the time of its last engagement."""
    known = recent >= 0
    recent, times = recent[known], times[known]
    order = np.lexsort((-times, recent))
    recent, times = recent[order], times[order]
    first = np.ones(recent.size, bool)
    first[1:] = recent[1:] != recent[:-1]
    return recent[first], times[first]
