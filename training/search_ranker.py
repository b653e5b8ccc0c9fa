"""Trains the search ranker on graded lists: listwise, a few members, each with its own seed, averaged."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from services.networks.numpy_search_ranker import CLIP, NumpySearchRanker
from training.list_loss import list_cross_entropy, list_softmax
from training.search_metrics import ndcg

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SearchRankerSettings:
    """`members`: networks whose mean is kept. `temperature`: of the target distribution softmax(gain / temperature).
    `held_out`: the share of lists that chooses each member's epoch. `linear`: weight decay of the linear part."""

    hidden: tuple[int, int] = (64, 32)
    members: int = 4
    dropout: float = 0.2
    input_dropout: float = 0.05
    temperature: float = 0.5
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    batch_lists: int = 64
    max_epochs: int = 40
    patience: int = 5
    held_out: float = 0.1


@dataclass(frozen=True)
class GradedLists:
    """`features` float32 (rows, F), `gain` float64 (rows,), lists one after the other from `starts` int64 (lists + 1,).
    `target` float32 (rows,): how often each row should be chosen, for lists of clicks; None: softmax of the gains."""

    features: FloatArray
    gain: NDArray[np.float64]
    starts: NDArray[np.int64]
    target: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, lists: NDArray[np.int64]) -> "GradedLists":
        """Some of the lists, in the order given."""
        counts = np.diff(self.starts)[lists]
        starts = np.concatenate(([0], np.cumsum(counts)))
        rows = np.arange(starts[-1]) + np.repeat(self.starts[lists] - starts[:-1], counts)
        target = None if self.target is None else self.target[rows]
        return GradedLists(self.features[rows], self.gain[rows], starts, target)


class SearchRankerNetwork(nn.Module):
    """`score = wide · x + out · relu(second · relu(first · x))` over standardised features."""

    def __init__(self, features: int, settings: SearchRankerSettings) -> None:
        super().__init__()
        first, second = settings.hidden
        self.wide = nn.Linear(features, 1, bias=False)
        self.first, self.second = nn.Linear(features, first), nn.Linear(first, second)
        self.out = nn.Linear(second, 1, bias=False)
        self.dropout, self.input_dropout = nn.Dropout(settings.dropout), nn.Dropout(settings.input_dropout)
        nn.init.zeros_(self.wide.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(…, F) standardised to (…,)."""
        x = self.input_dropout(x)
        h = torch.relu(self.second(self.dropout(torch.relu(self.first(x)))))
        return (self.wide(x) + self.out(self.dropout(h))).squeeze(-1)


def fit_search_ranker(
    lists: GradedLists,
    names: tuple[str, ...],
    settings: SearchRankerSettings | None = None,
    seed: int = 0,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> NumpySearchRanker:
    """A ranker of these lists. Lists in which every row is worth the same teach nothing and are left out."""
    settings = SearchRankerSettings() if settings is None else settings
    useful = lists.take(np.flatnonzero(_spread(lists) > 0))
    deviation = useful.features.std(axis=0)
    mean = useful.features.mean(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    x = np.clip((useful.features - mean) * scale, -CLIP, CLIP)
    ready = GradedLists(x, useful.gain, useful.starts, useful.target)
    members = [_fit_member(ready, settings, seed * 1_000 + member, tell) for member in range(settings.members)]
    return NumpySearchRanker(names, _stacked(members) | {"mean": mean, "scale": scale})


def _fit_member(
    lists: GradedLists, settings: SearchRankerSettings, seed: int, tell: Callable[[dict[str, float]], None]
) -> dict[str, FloatArray]:
    """Weights of the best epoch on the member's own held-out lists."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lists))
    held = lists.take(order[: max(1, round(len(lists) * settings.held_out))])
    taught = lists.take(order[len(held) :])
    model = SearchRankerNetwork(lists.features.shape[1], settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.max_epochs * max(1, len(taught) // settings.batch_lists)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, settings.learning_rate / 20)
    best, waited, kept = -1.0, 0, _weights(model)
    for epoch in range(1, settings.max_epochs + 1):
        model.train()
        order = rng.permutation(len(taught))
        total = 0.0
        for at in range(0, len(order), settings.batch_lists):
            loss = _loss(model, taught.take(order[at : at + settings.batch_lists]), settings.temperature)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        score = _held_ndcg(model, held)
        tell({"epoch": epoch, "loss": total, "held_out": score})
        if score > best:
            best, waited, kept = score, 0, _weights(model)
        else:
            waited += 1
            if waited >= settings.patience:
                break
    return kept


def _loss(model: nn.Module, lists: GradedLists, temperature: float) -> Tensor:
    """Listwise, against the softmax of the gains or the shares in which rows should be chosen."""
    owner = torch.as_tensor(np.repeat(np.arange(len(lists)), np.diff(lists.starts)))
    if lists.target is None:
        gain = torch.as_tensor(lists.gain, dtype=torch.float32) / temperature
        target = list_softmax(gain, owner, len(lists))
    else:
        target = torch.as_tensor(lists.target)
    return list_cross_entropy(model(torch.as_tensor(lists.features)), target, owner, len(lists))


def _held_ndcg(model: nn.Module, held: GradedLists) -> float:
    model.eval()
    with torch.inference_mode():
        scores = model(torch.as_tensor(held.features)).numpy()
    return float(np.nanmean(ndcg(scores, held.gain, held.starts)))


def _spread(lists: GradedLists) -> NDArray[np.float64]:
    """(lists,): greatest less smallest gain; 0 for empty lists."""
    full = np.diff(lists.starts) > 0
    spread = np.zeros(len(lists))
    at = lists.starts[:-1][full]
    spread[full] = np.maximum.reduceat(lists.gain, at) - np.minimum.reduceat(lists.gain, at)
    return spread


def numpy_weights(models: list[nn.Module]) -> dict[str, FloatArray]:
    """The members' weights under the names and shapes of `NumpySearchRanker`."""
    return _stacked([_weights(model) for model in models])


def _weights(model: nn.Module) -> dict[str, FloatArray]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def _stacked(members: list[dict[str, FloatArray]]) -> dict[str, FloatArray]:
    """The members' weights under the names and shapes of `NumpySearchRanker`."""
    return {
        "wide": np.stack([m["wide.weight"][0] for m in members]),
        "first": np.stack([m["first.weight"].T for m in members]),
        "first_bias": np.stack([m["first.bias"] for m in members]),
        "second": np.stack([m["second.weight"].T for m in members]),
        "second_bias": np.stack([m["second.bias"] for m in members]),
        "out": np.stack([m["out.weight"][0] for m in members]),
    }
