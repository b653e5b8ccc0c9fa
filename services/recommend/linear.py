"""The transparent first ranker: a linear blend with documented weights (docs/api.md explains each)."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.features.transforms import FEATURES


@dataclass(frozen=True)
class BlendWeights:
    """What each feature of `services.features.transforms.FEATURES` adds to the score at its full value.

    The defaults suit any shop: what the user's next item has most to do with comes first (items that others engage with
    next, then likeness to what the user engages with), then tastes, then what the whole shop likes. `query_cosine` has
    no weight until a learned query vector exists. `recency` has none: an item seen before is no better and no worse.
    """

    long_term_cosine: float = 0.5
    short_term_cosine: float = 1.5
    interest_cosine: float = 0.3
    query_cosine: float = 0.0
    category_affinity: float = 0.2
    brand_affinity: float = 0.3
    price_fit: float = 0.1
    item_to_item: float = 3.0
    neighbour_score: float = 0.3
    retrieval_score: float = 0.2
    recency: float = 0.0
    popularity: float = 0.3
    trend: float = 0.1
    click_rate: float = 0.1
    purchase_rate: float = 0.2
    rating: float = 0.1
    sentiment: float = 0.05
    freshness: float = 0.1
    available: float = 0.0
    confidence: float = 0.0
    last_cosine: float = 0.0
    last_item_to_item: float = 0.0
    history: float = 0.0


class LinearBlend:
    """`score = Σ weight · feature`."""

    name = "linear-blend"

    def __init__(self, weights: BlendWeights | None = None, version: str = "2") -> None:
        self.weights = BlendWeights() if weights is None else weights
        self.version = version
        by_name = {field.name: getattr(self.weights, field.name) for field in fields(self.weights)}
        self._vector = np.array([by_name[name] for name in FEATURES], np.float32)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return features @ self._vector

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return features * self._vector
