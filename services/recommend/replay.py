"""A served list computed again, and compared value by value with what was logged when it was served."""

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.features.freshness import without_passed_windows
from services.features.portrait import Portrait, cold_portrait, unpack
from services.features.transforms import FEATURES
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.request import RecommendationRequest

TOLERANCE = 1e-6
"""Sums of float32 in another order (a matrix product on another machine) may differ by this."""

_decode = msgspec.json.Decoder(RecommendationRequest).decode


@dataclass(frozen=True)
class LoggedList:
    """What was logged of a list: `now` in epoch seconds; `features` float32 (items, len(FEATURES)), `scores` and
    `propensities` float32 (items,), in the list's order. `packed`: the portrait as the offline store has it, None for
    a stranger."""

    request_id: str
    user_id: str
    now: float
    request: bytes
    packed: bytes | None
    item_ids: tuple[str, ...]
    features: NDArray[np.float32]
    scores: NDArray[np.float32]
    propensities: NDArray[np.float32]

    def portrait(self) -> Portrait:
        """The portrait as the gateway saw it."""
        if self.packed is None:
            return cold_portrait(self.user_id, self.now)
        return without_passed_windows(unpack(self.packed), self.now)[0]


def replay(pipeline: RecommendationPipeline, served: LoggedList) -> list[str]:
    """What differs when the list is made again, a sentence each; nothing where serving and replay agree."""
    found = pipeline.recommend(served.portrait(), _decode(served.request), served.now, seed=served.request_id)
    if tuple(found.item_ids) != served.item_ids:
        return [f"the list was {', '.join(served.item_ids)}; again it is {', '.join(found.item_ids)}"]
    if found.features is None:
        return []
    if found.features.shape != served.features.shape:
        return [f"{served.features.shape} values were logged; there are {found.features.shape} now"]
    apart = ~np.isclose(found.features, served.features, rtol=0, atol=TOLERANCE)
    values = [
        f"{FEATURES[column]} of {served.item_ids[row]} was {served.features[row, column]:.7g}; "
        f"again it is {found.features[row, column]:.7g}"
        for row, column in np.argwhere(apart).tolist()
    ]
    return values + _columns_apart(served, found.scores, found.propensities)


def _columns_apart(served: LoggedList, scores: list[float], propensities: list[float]) -> list[str]:
    found = []
    for name, logged, again in (("score", served.scores, scores), ("propensity", served.propensities, propensities)):
        for row in np.flatnonzero(~np.isclose(logged, again, rtol=1e-5, atol=1e-5)).tolist():
            found.append(f"{name} of {served.item_ids[row]} was {logged[row]:.7g}; again it is {again[row]:.7g}")
    return found
