"""The user model without torch: item vectors when a model is loaded, one user's query vector in a request.

The arithmetic is `item_tower` and `sequence_encoder` in evaluation mode; a test holds both to each other at 1e-4.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from services.networks.item_inputs import ItemInputs
from services.networks.user_config import EVENT_TYPES, GAP_BUCKETS, ITEM_PARTS, POSITION_BUCKETS, UserModelConfig

FloatArray = NDArray[np.float32]

CONFIG = "config"
TYPE_CODE: dict[str, int] = {name: code for code, name in enumerate(EVENT_TYPES, 1)}
ITEMS_AT_ONCE = 20_000


class NumpyUserModel:
    """A trained user model; reading it changes nothing, so threads may share one."""

    def __init__(self, config: UserModelConfig, weights: Mapping[str, FloatArray]) -> None:
        self.config = config
        self.weights: dict[str, FloatArray] = {
            name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()
        }
        self._blocks = [_Block(self.weights, f"encoder.blocks.{n}.", config.heads) for n in range(config.blocks)]

    @classmethod
    def load(cls, path: Path) -> "NumpyUserModel":
        """Read a safetensors file that `save` wrote."""
        with safe_open(path, framework="np") as file:
            config = UserModelConfig.from_json(file.metadata()[CONFIG])
            return cls(config, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping

    def save(self, path: Path) -> None:
        """Write weights and shapes as one safetensors file."""
        save_file(self.weights, path, metadata={CONFIG: self.config.to_json()})

    def item_vectors(self, items: ItemInputs) -> FloatArray:
        """float32 (n, W), unit rows."""
        parts = [self._tower(items, slice(at, at + ITEMS_AT_ONCE)) for at in range(0, len(items), ITEMS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.width), np.float32)

    def query(self, items: FloatArray, types: NDArray[np.int64], times: NDArray[np.float64]) -> FloatArray:
        """float32 (W,), a unit vector: what a user wants after these events.

        Args:
            items: float32 (l, W), vectors of the items of his events, oldest first; the last `length` count.
            types: (l,) codes of the events' types (`TYPE_CODE`).
            times: (l,) seconds, NaN where they are not known.
        """
        weights, limit = self.weights, self.config.length
        if not len(items):
            return np.zeros(self.config.width, np.float32)
        items, types, times = items[-limit:], types[-limit:], times[-limit:]
        gaps = np.concatenate(([0], _span_buckets(times[1:] - times[:-1])))
        x = items @ weights["encoder.entry.weight"].T + weights["encoder.entry.bias"]
        x += weights["encoder.event_type.weight"][types] + weights["encoder.gap.weight"][gaps]
        place = np.arange(len(items))
        for number, block in enumerate(self._blocks):
            last = number == len(self._blocks) - 1
            asking = place[-1:] if last else place  # of the last layer only the last event's answer is wanted
            steps = np.clip(asking[:, None] - place, 0, POSITION_BUCKETS - 1)
            spans = _span_buckets(times[asking, None] - times)
            bias = weights["encoder.position_bias"][steps] + weights["encoder.time_bias"][spans]
            bias[asking[:, None] < place] = -np.inf
            x = block(x, bias.transpose(2, 0, 1), asking)
        x = _layer_norm(x[-1], weights["encoder.norm.weight"], weights["encoder.norm.bias"])
        x = x @ weights["encoder.exit.weight"].T + weights["encoder.exit.bias"]
        return (x / max(float(np.sqrt(x @ x)), 1e-6)).astype(np.float32)

    def _tower(self, items: ItemInputs, rows: slice) -> FloatArray:
        weights = self.weights
        content, ids = items.content[rows], items.id[rows]
        has_content = np.any(content != 0, axis=1).astype(np.float32)
        has_id = (ids > 0).astype(np.float32)
        seen = np.log1p(items.count[rows]) / np.float32(5) * has_id
        gates = np.stack((has_content, has_id, seen), axis=1) @ weights["tower.gate.weight"].T
        gates = 2 / (1 + np.exp(-(gates + weights["tower.gate.bias"])))
        categories = items.categories[rows]
        shares = np.maximum((categories > 0).sum(axis=1), 1).astype(np.float32)
        parts = {
            "content": (content @ weights["tower.content.weight"].T + weights["tower.content.bias"])
            * has_content[:, None],
            "category": weights["tower.category.weight"][categories].sum(axis=1) / shares[:, None],
            "brand": weights["tower.brand.weight"][items.brand[rows]],
            "price": weights["tower.price.weight"][items.price[rows]],
            "id": weights["tower.id.weight"][ids],
        }
        summed = sum(gates[:, place, None] * parts[name] for place, name in enumerate(ITEM_PARTS))
        norm = np.sqrt(np.einsum("nw,nw->n", summed, summed))
        return (summed / np.maximum(norm, 1e-6)[:, None]).astype(np.float32)


class _Block:
    """One layer of the encoder."""

    def __init__(self, weights: Mapping[str, FloatArray], prefix: str, heads: int) -> None:
        def get(name: str) -> tuple[FloatArray, FloatArray]:
            return weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"]

        self._before, self._between = get("before"), get("between")
        into, bias = get("into")
        width = into.shape[1]
        self._query = into[:width].T, bias[:width]
        self._memory = into[width:].T, bias[width:]
        self._out, self._up, self._down = ((w.T, b) for w, b in map(get, ("out", "up", "down")))
        self._heads, self._width = heads, width

    def __call__(self, x: FloatArray, bias: FloatArray, asking: NDArray[np.int64]) -> FloatArray:
        """The answers of the `asking` rows; `bias` (heads, asking, l)."""
        heads, width = self._heads, self._width
        normed = _layer_norm(x, *self._before)
        q = (normed[asking] @ self._query[0] + self._query[1]).reshape(len(asking), heads, -1).transpose(1, 0, 2)
        k, v = (normed @ self._memory[0] + self._memory[1]).reshape(len(x), 2, heads, -1).transpose(1, 2, 0, 3)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(width // heads) + bias
        scores = np.exp(scores - scores.max(axis=2, keepdims=True))
        seen = (scores / scores.sum(axis=2, keepdims=True)) @ v
        x = x[asking] + seen.transpose(1, 0, 2).reshape(len(asking), width) @ self._out[0] + self._out[1]
        dense = _gelu(_layer_norm(x, *self._between) @ self._up[0] + self._up[1])
        return x + dense @ self._down[0] + self._down[1]


def _layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray) -> FloatArray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * weight + bias


def _gelu(x: FloatArray) -> FloatArray:
    """The tanh form of Hendrycks and Gimpel 2016."""
    return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)))


def _span_buckets(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    bucket = np.floor(np.log2(1 + np.abs(seconds) / 60)) + 1
    return np.clip(np.nan_to_num(bucket, nan=0.0), 0, GAP_BUCKETS - 1).astype(np.int64)
