"""Rankers of search: the one that needs no training, and the learned one."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.networks.numpy_search_ranker import NumpySearchRanker
from services.search.features import FEATURES, PLACE, query_item_features
from services.search.item_terms import ItemTerms
from services.search.personal import PersonalConfig
from services.search.ranking import RankedScores, RankingInput

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class UntrainedWeights:
    """What each feature adds at its full value; what is not named adds nothing.

    Words and meaning come first and weigh alike; the thing that is named weighs more than what is said of it; then what
    the shop sells and likes; then who is asking.
    """

    words_idf: float = 1.0
    either_idf: float = 1.0
    bm25: float = 1.0
    cosine: float = 3.0
    latent_cosine: float = 1.0
    head_named: float = 0.3
    head_meant: float = 0.3
    pairs: float = 0.3
    name_told: float = 1.0
    name_end_told: float = 0.3
    numbers_found: float = 0.5
    numbers_clash: float = -0.3
    model_found: float = 1.5
    lexical: float = 0.5
    category_fit: float = 0.5
    brand_fit: float = 0.5
    popularity: float = 0.3
    purchase_rate: float = 0.2
    rating: float = 0.15
    sentiment: float = 0.05
    freshness: float = 0.05
    memory: float = 1.0
    long_term_cosine: float = 0.6
    short_term_cosine: float = 1.2
    category_affinity: float = 0.6
    brand_affinity: float = 1.0
    price_fit: float = 0.3
    item_to_item: float = 3.0
    neighbour_score: float = 0.5


def untrained_vector(weights: UntrainedWeights | None = None) -> FloatArray:
    """float32 (F,): the weights in the order of the features."""
    weights = UntrainedWeights() if weights is None else weights
    vector = np.zeros(len(FEATURES), np.float32)
    for field in fields(weights):
        vector[PLACE[field.name]] = getattr(weights, field.name)
    return vector


class UntrainedRanker:
    """`score = Σ weight · feature`: what a shop without judgements or clicks begins with."""

    version = "untrained-1"
    cross_weight = 0.0

    def __init__(
        self, items: ItemTerms, weights: UntrainedWeights | None = None, personal: PersonalConfig | None = None
    ) -> None:
        self._items, self._personal = items, personal
        self.weights = UntrainedWeights() if weights is None else weights
        self._vector = untrained_vector(self.weights)
        self._weighed = frozenset(FEATURES[place] for place in np.flatnonzero(self._vector).tolist())

    def rank(self, asked: RankingInput) -> RankedScores:
        parts = query_item_features(asked, self._items, self._personal, self._weighed) * self._vector
        return RankedScores(parts.sum(axis=1), FEATURES, parts)


class LearnedSearchRanker:
    """Scores by a network trained on judgements or clicks (`training.search_ranker`)."""

    def __init__(
        self,
        network: NumpySearchRanker,
        items: ItemTerms,
        version: str,
        personal: PersonalConfig | None = None,
        cross_weight: float = 0.0,
    ) -> None:
        """Raises CorruptArtefact when the network was trained on other features."""
        if network.features != FEATURES:
            raise CorruptArtefact("The search ranker was trained on other features than are computed: train it again")
        self._network, self._items, self.version, self._personal = network, items, version, personal
        self.cross_weight = cross_weight

    def rank(self, asked: RankingInput) -> RankedScores:
        features = np.ascontiguousarray(query_item_features(asked, self._items, self._personal))
        return RankedScores(self._network.score(features), FEATURES, self._network.contributions(features))
