"""What every candidate source offers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.features.order import best_first
from services.features.portrait_view import SparseScores
from services.features.snapshot import ItemSnapshot
from services.recommend.candidates import Hits
from services.recommend.config import PipelineConfig
from services.recommend.user import UserView


class CandidateSource(Protocol):
    """Brings items that may suit a user."""

    def retrieve(self, user: UserView, snapshot: ItemSnapshot, config: PipelineConfig) -> list[Hits]:
        """Best-first lists; several where one call answers several questions. Items may be unavailable or excluded:
        filters come later."""
        ...


def quota(base: int, user: UserView, config: PipelineConfig) -> int:
    """A quota of the sources that know no user: larger where they are all there is."""
    return base * config.cold_factor if user.cold else base


def strongest(scores: SparseScores, count: int) -> NDArray[np.int32]:
    """The `count` items with the best scores, best first; equal ones by index."""
    return scores.indices[best_first(scores.scores, count)]
