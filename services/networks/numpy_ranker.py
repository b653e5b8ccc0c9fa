"""The ranker without torch: what scores candidates in a request."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from services.networks.ranker_config import TASKS, RankerConfig

FloatArray = NDArray[np.float32]
CONFIG = "config"
CALIBRATION = "calibration"


class NumpyRanker:
    """A trained `RankerNetwork`. `calibration` (tasks, 2): slope and offset that turn logits into log-odds."""

    def __init__(self, config: RankerConfig, weights: Mapping[str, FloatArray], calibration: FloatArray) -> None:
        self.config = config
        self.weights = {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}
        self.calibration = np.ascontiguousarray(calibration, np.float32)
        trained = np.array([task in config.trained for task in TASKS], np.float32)
        self._value = np.array(config.value, np.float32) * trained

    @classmethod
    def load(cls, path: Path) -> "NumpyRanker":
        """Read a safetensors file that `save` wrote."""
        with safe_open(path, framework="np") as file:
            config = RankerConfig.from_json(file.metadata()[CONFIG])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return cls(config, weights, weights.pop(CALIBRATION))

    def save(self, path: Path) -> None:
        """Write weights, calibration and shapes as one safetensors file."""
        save_file(self.weights | {CALIBRATION: self.calibration}, path, metadata={CONFIG: self.config.to_json()})

    def logits(self, features: FloatArray) -> FloatArray:
        """float32 (n, F) to (n, tasks), before calibration."""
        w = self.weights
        x = np.clip((features - w["mean"]) * w["scale"], -5, 5)
        h = np.maximum(x @ w["first.weight"].T + w["first.bias"], 0)
        h = np.maximum(h @ w["second.weight"].T + w["second.bias"], 0)
        return x @ w["wide.weight"].T + w["wide.bias"] + h @ w["out.weight"].T

    def log_odds(self, features: FloatArray) -> FloatArray:
        """float32 (n, tasks): calibrated; the probability is its sigmoid."""
        return self.logits(features) * self.calibration[:, 0] + self.calibration[:, 1]

    def value(self, features: FloatArray) -> FloatArray:
        """float32 (n,): ln Σ_t value_t · odds_t, the expected worth of showing an item on a logarithmic scale."""
        weighed = self.log_odds(features) + np.log(np.maximum(self._value, 1e-12))
        top = weighed.max(axis=1, initial=-np.inf, keepdims=True) if len(weighed) else np.zeros((0, 1), np.float32)
        return (top[:, 0] + np.log(np.exp(weighed - top).sum(axis=1))).astype(np.float32)
