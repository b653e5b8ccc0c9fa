"""Where the ranker plugs in: everything known of a query's candidates in, scores out."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.features.portrait import Portrait
from services.features.portrait_view import PortraitView
from services.features.snapshot import ItemSnapshot
from services.search.understanding import UnderstoodQuery

FloatArray = NDArray[np.float32]
WordFeatures = dict[frozenset[str] | None, FloatArray]


@dataclass(frozen=True)
class SearchCandidates:
    """n distinct items, ascending: `indices` int32 (n,) rows of the snapshot.

    `lexical` float32 (n,): boosted BM25 over all fields, 0 where no word is found. `dense` float32 (n,): cosine of
    query and item vector, NaN where there is no query vector or the item has none. `field_scores` float32
    (n, len(FIELDS)): BM25 of each field without boosts. `found` float32 (n, words): the weight with which each word of
    the query is found in any field of the item, 0 where it is not.
    """

    indices: NDArray[np.int32]
    lexical: FloatArray
    dense: FloatArray
    field_scores: FloatArray
    found: FloatArray

    def __len__(self) -> int:
        return self.indices.size


@dataclass(frozen=True)
class RankingInput:
    """What a ranker may look at. `user` is None where nothing is known of the user; `now` in epoch seconds.

    `memory` float32 (n,): how much people who asked the same took of each candidate, 0–1; None where nothing is known.
    `word_features`: what rankers have computed, and will, of the query and these candidates alone, by what was wanted
    of it; requests that share candidates share it.
    """

    query: UnderstoodQuery
    candidates: SearchCandidates
    snapshot: ItemSnapshot
    portrait: Portrait | None
    user: PortraitView | None
    query_vector: FloatArray | None
    now: float
    memory: FloatArray | None = None
    word_features: WordFeatures = field(default_factory=dict)


@dataclass(frozen=True)
class RankedScores:
    """`scores` float32 (n,), higher is better. `contributions` float32 (n, len(names)): what each part added."""

    scores: FloatArray
    names: tuple[str, ...]
    contributions: FloatArray


class TakenItems(Protocol):
    """What people took after asking a query (`services.search.query_memory`)."""

    def items_of(self, query: str) -> tuple[NDArray[np.int32], FloatArray]:
        """Rows of the snapshot and their weights, the heaviest first."""
        ...

    def strengths(self, query: str, rows: NDArray[np.int32]) -> FloatArray:
        """float32 (n,) of ascending rows, 0–1."""
        ...


class CandidateRanker(Protocol):
    """Scores all candidates of one query in one vectorised call."""

    @property
    def version(self) -> str:
        """Changes when its scores may: cursors and caches are bound to it."""
        ...

    @property
    def cross_weight(self) -> float:
        """What the score of its cross-encoder counts beside its own; 0 where it has none."""
        ...

    def rank(self, asked: RankingInput) -> RankedScores: ...


class FusionRanker:
    """Without a learned ranker: BM25 and cosine, each as a share of the best candidate's, weighed and summed, and what
    people who asked the same took.

    Of z-scores, reciprocal ranks and shares of the best, the last found most in the first hundred (docs/search.md).
    """

    version = "fusion-3"
    cross_weight = 0.0
    names = ("words", "meaning", "memory")

    def __init__(self, lexical_weight: float = 0.55, memory_weight: float = 1.0) -> None:
        self._weights = np.array([lexical_weight, 1 - lexical_weight, memory_weight], np.float32)

    def rank(self, asked: RankingInput) -> RankedScores:
        found = asked.candidates
        dense = np.maximum(np.nan_to_num(found.dense), 0)
        memory = np.zeros(len(found), np.float32) if asked.memory is None else asked.memory
        parts = np.column_stack([share_of_best(found.lexical), share_of_best(dense), memory]) * self._weights
        return RankedScores(parts.sum(axis=1), self.names, parts)


def share_of_best(values: FloatArray) -> FloatArray:
    """Values of at least 0, divided by the greatest; zeros where all are."""
    best = values.max(initial=0)
    return values / best if best > 0 else values
