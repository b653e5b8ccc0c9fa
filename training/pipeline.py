"""The serving pipeline as a recommender, so that its lists stand in the same table as every other model's.

It answers one request a user from the portrait and the item snapshot, as the gateway does. What makes them from a
split's history is handed in (`BuildInputs`): computing portraits is the business of `services.profiles`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from services.features.portrait import Portrait, cold_portrait
from services.features.snapshot import ItemSnapshot
from services.recommend.config import PipelineConfig
from services.recommend.pipeline import RecommendationPipeline
from services.recommend.ranker import Ranker
from services.recommend.request import RecommendationRequest
from training.splits import Split


@dataclass(frozen=True)
class PipelineInputs:
    """What serving knows: the item snapshot, portraits by user id, and the time of the requests (epoch seconds)."""

    snapshot: ItemSnapshot
    portraits: Mapping[str, Portrait]
    now: float


BuildInputs = Callable[[Split], PipelineInputs]


class PipelineRecommender:
    """`services.recommend`'s own pipeline. Users without a portrait are cold starts, as they are when serving."""

    deterministic = True

    def __init__(
        self,
        build: BuildInputs,
        ranker: Ranker | None = None,
        config: PipelineConfig | None = None,
        name: str = "pipeline",
    ) -> None:
        self.name, self._build, self._ranker, self._config = name, build, ranker, config

    def fit(self, split: Split) -> None:
        """Build snapshot and portraits from the split."""
        self.split = split
        self.inputs = self._build(split)
        self.pipeline = RecommendationPipeline(self.inputs.snapshot, self._ranker, self._config)
        self._user_ids = split.log.user_ids.to_pylist()
        ids = pa.array(list(self.inputs.snapshot.item_ids), pa.string())
        codes = pc.fill_null(pc.index_in(ids, value_set=split.log.item_ids), -1)
        self.codes = codes.to_numpy(zero_copy_only=False).astype(np.int32)
        self._code = dict(zip(ids.to_pylist(), codes.to_pylist(), strict=True))

    def recommend(self, users: NDArray[np.int32], k: int) -> NDArray[np.int32]:
        """See `Recommender`; one request a user."""
        ranked = np.full((len(users), k), -1, np.int32)
        for row, user in enumerate(users.tolist()):
            found = self.pipeline.recommend(self.portrait_of(user), self._request(user, k), self.inputs.now)
            ranked[row, : len(found.item_ids)] = [self._code[item] for item in found.item_ids]
        return ranked

    def portrait_of(self, user: int) -> Portrait:
        """What serving knows of a user, by code; a cold start where it knows nothing."""
        user_id = self._user_ids[user]
        return self.inputs.portraits.get(user_id) or cold_portrait(user_id, self.inputs.now)

    def _request(self, user: int, k: int) -> RecommendationRequest:
        """The user's `seen` items are left out, as for every model: those that are not bought too."""
        seen = split_items(self.split, user)
        return RecommendationRequest(user_id=self._user_ids[user], count=k, exclude=tuple(seen))


def split_items(split: Split, user: int) -> list[str]:
    """Ids of the items that the user is not to be recommended again."""
    return split.log.item_ids.take(pa.array(split.seen[[user]].indices)).to_pylist()
