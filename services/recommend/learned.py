"""The learned ranker: the expected worth of showing an item, from a multi-task network over the serving features."""

import numpy as np
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.features.transforms import FEATURES
from services.networks.numpy_ranker import NumpyRanker


class LearnedRanker:
    """Scores by value: logarithm of Σ worth(task) · odds(task)."""

    name = "learned"

    def __init__(self, network: NumpyRanker, version: str) -> None:
        if network.config.features != FEATURES:
            raise CorruptArtefact("The ranker was trained on other features than this version computes: train it again")
        self._network, self.version = network, version

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._network.value(np.ascontiguousarray(features))

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """What each feature adds when the features come to be known one after the other, from "nothing known" (0).

        The mean over their order and the reversed one, so that the sum is exactly the score's distance from that of
        "nothing known" (two antithetic permutations of Shapley sampling, Mitchell et al. 2022).
        """
        count, width = features.shape
        total = np.zeros((count, width), np.float32)
        for order in (np.arange(width), np.arange(width)[::-1]):
            known = np.zeros((width + 1, width), np.float32)
            for step, feature in enumerate(order, 1):
                known[step:, feature] = 1
            rows = (features[:, None, :] * known[None]).reshape(-1, width)
            values = self.score(rows).reshape(count, width + 1)
            total[:, order] += np.diff(values, axis=1) / 2
        return total
