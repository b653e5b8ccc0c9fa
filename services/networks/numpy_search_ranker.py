"""The search ranker without torch: the mean of several small networks over query × item × user features."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

FloatArray = NDArray[np.float32]
FEATURES = "features"
BY_HAND = "by_hand"
CLIP = 5.0
"""Deviations from the mean beyond which a feature says no more."""


class NumpySearchRanker:
    """M members: `score = mean_m (wide_m · x + out_m · relu(second_m · relu(first_m · x)))`, x standardised features.

    `weights`: `mean`, `scale` (F,); `wide` (M, F); `first` (M, F, H), `first_bias` (M, H); `second` (M, H, G),
    `second_bias` (M, G); `out` (M, G). `by_hand` (F,), where it is given: weights of features as they are, added to the
    score: of those that did not vary in what taught the networks, which can say nothing of them (scale 0).
    """

    def __init__(self, features: tuple[str, ...], weights: Mapping[str, FloatArray]) -> None:
        self.features = features
        self.weights = {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}
        self._by_hand = self.weights.get(BY_HAND, np.zeros(len(features), np.float32))

    @classmethod
    def load(cls, path: Path) -> "NumpySearchRanker":
        """Read a safetensors file that `save` wrote."""
        with safe_open(path, framework="np") as file:
            features = msgspec.json.decode(file.metadata()[FEATURES], type=tuple[str, ...])
            return cls(features, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping

    def save(self, path: Path) -> None:
        """Write names of the features and weights as one safetensors file."""
        save_file(self.weights, path, metadata={FEATURES: msgspec.json.encode(self.features).decode()})

    def score(self, features: FloatArray) -> FloatArray:
        """float32 (n, F) to float32 (n,): higher is better."""
        w = self.weights
        x = self._standardised(features)
        h = np.maximum(np.matmul(x, w["first"]) + w["first_bias"][:, None], 0)
        h = np.maximum(np.matmul(h, w["second"]) + w["second_bias"][:, None], 0)
        learned = x @ w["wide"].mean(axis=0) + np.einsum("mng,mg->n", h, w["out"]) / len(h)
        return (learned + features @ self._by_hand).astype(np.float32)

    def contributions(self, features: FloatArray) -> FloatArray:
        """float32 (n, F): gradient · (feature − mean of the candidates): to first order, what sets each apart. Of
        features weighed by hand exactly what they add."""
        if not len(features):
            return np.zeros_like(features, np.float32)
        w = self.weights
        x = self._standardised(features)
        h = np.matmul(x, w["first"]) + w["first_bias"][:, None]
        g = np.matmul(np.maximum(h, 0), w["second"]) + w["second_bias"][:, None]
        back = (g > 0) * w["out"][:, None]
        back = np.matmul(back, w["second"].transpose(0, 2, 1)) * (h > 0)
        gradient = w["wide"].mean(axis=0) + np.matmul(back, w["first"].transpose(0, 2, 1)).mean(axis=0)
        return (gradient * (x - x.mean(axis=0)) + features * self._by_hand).astype(np.float32)

    def _standardised(self, features: FloatArray) -> FloatArray:
        return np.clip((features - self.weights["mean"]) * self.weights["scale"], -CLIP, CLIP)
