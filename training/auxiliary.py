"""A self-supervised objective beside the next item: two thinned-out copies of a history mean the same user.

Contrastive learning of sequences (CL4SRec, Xie et al. 2022) with its operators crop and mask; NT-Xent loss (Chen et al.
2020) over a batch. An option (`UserModelSettings.auxiliary`, its weight), off by default.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from services.networks.item_tower import TowerItems
from services.networks.user_model import UserModel
from training.sequences import Batch, Tokens

CROPPED = 0.6
"""A cropped copy keeps this share of a history, in one piece."""
MASKED = 0.3
"""A masked copy lacks this share, drawn at random."""
TEMPERATURE = 0.2
SHORTEST = 3
"""Histories of fewer events have no two copies that differ."""

Loss = Callable[[UserModel, Batch], Tensor]


class AugmentedSequences:
    """Draws two copies of each history of a batch and tells the pairs from all others."""

    def __init__(self, tokens: Tokens, items: TowerItems, seed: int, device: str = "cpu") -> None:
        self._tokens, self._items, self._device = tokens, items, device
        self.generator = np.random.default_rng(seed + 2)

    def loss(self, model: UserModel, batch: Batch) -> Tensor:
        """Mean NT-Xent over the copies; 0 where fewer than two histories are long enough."""
        long = np.flatnonzero(batch.known.sum(axis=1) >= SHORTEST)
        if len(long) < 2:
            return torch.zeros((), device=self._device)
        rows, known = batch.rows[long], batch.known[long]
        used = np.unique(self._tokens.item[rows])
        vectors = model.items(self._items.take(self._tensor(used)))
        item_of = np.zeros(int(self._tokens.item.max()) + 1, np.int64)
        item_of[used] = np.arange(len(used))
        copies = [self._queries(model, vectors, item_of, *thinned(rows, known, self.generator)) for _ in range(2)]
        both = torch.cat(copies).float()
        score = both @ both.T / TEMPERATURE
        score.fill_diagonal_(-torch.inf)
        other = torch.arange(len(both), device=self._device).roll(len(long))
        return F.cross_entropy(score, other)

    def _queries(
        self,
        model: UserModel,
        vectors: Tensor,
        item_of: NDArray[np.int64],
        rows: NDArray[np.int64],
        known: NDArray[np.bool_],
    ) -> Tensor:
        mask = self._tensor(known)
        embedded = vectors[self._tensor(item_of[self._tokens.item[rows]])] * mask[..., None]
        types, times = self._tensor(self._tokens.type[rows]), self._tensor(self._tokens.time[rows])
        every = model.queries(embedded, types, times, mask)
        return every[torch.arange(len(rows), device=self._device), mask.sum(dim=1) - 1]

    def _tensor(self, array: NDArray) -> Tensor:
        return torch.as_tensor(array).to(self._device)


def thinned(
    rows: NDArray[np.int64], known: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(rows, known) of a copy of each history (B, L), cropped or masked by the toss of a coin, never empty."""
    count, place = known.sum(axis=1), np.arange(rows.shape[1])
    width = np.maximum(1, np.ceil(CROPPED * count)).astype(np.int64)
    start = (rng.random(len(rows)) * (count - width + 1)).astype(np.int64)
    cropped = (place >= start[:, None]) & (place < (start + width)[:, None])
    luck = rng.random(rows.shape)
    masked = (luck >= MASKED) | (luck == np.where(known, luck, -1).max(axis=1, keepdims=True))
    kept = known & np.where(rng.random(len(rows))[:, None] < 0.5, cropped, masked)
    order = np.argsort(~kept, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(kept, order, axis=1)


def with_auxiliary(loss: Loss, auxiliary: AugmentedSequences, weight: float) -> Loss:
    """The sum of both."""
    return lambda model, batch: loss(model, batch) + weight * auxiliary.loss(model, batch)
