"""Trains the ranker on what the pipeline itself retrieves at an earlier point in time.

Each user's last target event, and what follows it, is held out; snapshot, portraits and user model are made without it.
The candidates that serving would have ranked then, with the features it would have computed, are the examples: those
that the user went on to click, put into the cart or buy are the hits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor, nn

from services.core import columns
from services.core.types import EventType
from services.features.transforms import FEATURES
from services.networks.numpy_ranker import NumpyRanker
from services.networks.ranker_config import TASKS, RankerConfig
from services.networks.ranker_network import RankerNetwork
from training.configs import RankerSettings
from training.splits import Split
from training.trainer import Tell, Trained, TrainerSettings, seed_everything, train

HITS: dict[str, tuple[EventType, ...]] = {
    "click": (EventType.CLICK, EventType.VIEW, EventType.FAVOURITE, EventType.CART, EventType.PURCHASE),
    "cart": (EventType.CART, EventType.PURCHASE),
    "purchase": (EventType.PURCHASE, EventType.RATING, EventType.REVIEW),
}
"""Which events say that a task came true. What is bought was chosen before; a rating tells of a purchase elsewhere."""

FEWEST_HITS = 50
"""Users with a hit, below which a task is not learned."""


@dataclass(frozen=True)
class Examples:
    """Candidates of several users, one user's after the other: `features` float16 (n, F), `hits` bool (n, tasks), and
    `starts` int64 (users + 1,): where each user's rows begin. `weights` float32 (n,): what a hit counts, 1 when None.

    Of served lists (training/impressions.py) each is one "user".
    """

    features: NDArray[np.float16]
    hits: NDArray[np.bool_]
    starts: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    @property
    def weight(self) -> NDArray[np.float32]:
        """float32 (n,): what each hit counts."""
        return np.ones(len(self.features), np.float32) if self.weights is None else self.weights

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def hit_users(self) -> NDArray[np.bool_]:
        """(users, tasks): whether any candidate is a hit."""
        return np.logical_or.reduceat(self.hits, self.starts[:-1]) if len(self) else np.zeros((0, len(TASKS)), bool)

    def take(self, users: NDArray[np.int64]) -> "Examples":
        """The examples of these users."""
        counts = np.diff(self.starts)[users]
        starts = np.concatenate(([0], np.cumsum(counts)))
        rows = np.arange(starts[-1]) + np.repeat(self.starts[users] - starts[:-1], counts)
        weights = None if self.weights is None else self.weights[rows]
        return Examples(self.features[rows], self.hits[rows], starts, weights)


Candidates = Callable[[int], tuple[NDArray[np.int32], NDArray[np.float32]]]
"""User code → (item codes (n,), features (n, F)) of what the pipeline would have ranked."""


def collect(split: Split, candidates: Candidates, users: NDArray[np.int32]) -> Examples:
    """The examples of these users of a split."""
    later = later_items(split)
    features, hits, counts = [], [], [0]
    for user in users.tolist():
        items, values = candidates(user)
        labels = np.stack([np.isin(items, later[task].get(user, ())) for task in TASKS], axis=1)
        features.append(values.astype(np.float16))
        hits.append(labels)
        counts.append(len(items))
    if not features:
        return Examples(
            np.zeros((0, len(FEATURES)), np.float16), np.zeros((0, len(TASKS)), bool), np.zeros(1, np.int64)
        )
    return Examples(np.concatenate(features), np.concatenate(hits), np.cumsum(counts))


def later_items(split: Split) -> dict[str, dict[int, NDArray[np.int32]]]:
    """By task and user, the items that the user engaged with after his history in the way the task means."""
    log = split.log
    evaluated = np.zeros(log.user_count, bool)
    evaluated[split.users] = True
    rows = np.flatnonzero(~split.history & evaluated[log.user] & _until_next_part(split))
    kinds = np.array(log.events[columns.TYPE].take(rows).to_pylist(), object)
    found: dict[str, dict[int, NDArray[np.int32]]] = {}
    for task in TASKS:
        chosen = rows[np.isin(kinds, [kind.value for kind in HITS[task]])]
        users, starts = np.unique(log.user[chosen], return_index=True)
        found[task] = (
            dict(zip(users.tolist(), np.split(log.item[chosen], starts[1:]), strict=True)) if len(users) else {}
        )
    return found


def _until_next_part(split: Split) -> NDArray[np.bool_]:
    """Rows from the history's end to the last target: what lies behind belongs to nobody."""
    log = split.log
    last = np.zeros(log.user_count, np.int64)
    last[log.user[split.targets]] = split.targets
    return np.arange(len(log.user)) <= last[log.user]


@dataclass(frozen=True)
class FittedRanker:
    """`ndcg`: on the users held out of its training, among the candidates; `users`: how many taught it."""

    network: NumpyRanker
    trained: Trained
    users: int
    ndcg: float


def fit_ranker(
    examples: Examples,
    settings: RankerSettings,
    seed: int,
    *,
    device: str = "cpu",
    tell: Tell = lambda _: None,
) -> FittedRanker | None:
    """A ranker of these examples; None when there are too few hits of every task to learn from."""
    rng = seed_everything(seed)
    useful = np.flatnonzero(examples.hit_users.any(axis=1))
    tasks = tuple(task for place, task in enumerate(TASKS) if examples.hit_users[:, place].sum() >= FEWEST_HITS)
    if not tasks:
        return None
    config = RankerConfig(features=FEATURES, hidden=settings.hidden, value=settings.value, trained=tasks)
    order = rng.permutation(useful)
    held = examples.take(order[: max(1, round(len(order) * settings.held_out))])
    taught = examples.take(order[len(held) :])
    network = RankerNetwork(config, settings.dropout)
    _standardise(network, taught.features)
    lists = _Lists(taught, [TASKS.index(task) for task in tasks], settings)
    trained = train(
        network,
        lists.batches,
        lists.loss,
        TrainerSettings(
            epochs=settings.max_epochs,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            patience=settings.patience,
            average=settings.average,
            seed=seed,
            device=device,
            stage="ranker",
        ),
        lambda model: held_ndcg(model, held, config),
        tell,
    )
    weights = {name: value.cpu().numpy() for name, value in trained.model.state_dict().items()}
    plain = NumpyRanker(config, weights, np.tile(np.float32([1, 0]), (len(TASKS), 1)))
    calibrated = NumpyRanker(config, weights, calibration(plain, _sample(examples, rng, settings.calibration_users)))
    return FittedRanker(calibrated, trained, len(taught), trained.best or 0.0)


def held_ndcg(model: nn.Module, held: Examples, config: RankerConfig) -> float:
    """Mean NDCG@10 over users, by the strongest task that was trained, among the candidates."""
    task = TASKS.index(config.trained[-1])
    features = torch.as_tensor(held.features.astype(np.float32), device=_device(model))
    logits = model(features)[:, task].cpu().numpy()
    if held.weights is not None:
        return gain_of_hits(logits, held.hits[:, task], held.starts, held.weights)
    return ndcg_of_lists(logits, held.hits[:, task], held.starts)


def ndcg_of_lists(scores: NDArray[np.float32], hits: NDArray[np.bool_], starts: NDArray[np.int64]) -> float:
    """Mean NDCG@10 of lists that hold a hit, their rows from `starts` to `starts`."""
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((-scores, owner))
    rank = np.arange(len(order)) - starts[owner[order]]
    gain = np.where(hits[order] & (rank < 10), 1 / np.log2(rank + 2), 0)
    found = np.bincount(owner[order], gain, minlength=len(starts) - 1)
    count = np.bincount(owner, hits, minlength=len(starts) - 1).astype(int)
    ideal = np.concatenate(([0.0], np.cumsum(1 / np.log2(np.arange(10) + 2))))[np.minimum(count, 10)]
    return float(np.mean(found[count > 0] / ideal[count > 0])) if np.any(count > 0) else 0.0


def gain_of_hits(
    scores: NDArray[np.float32], hits: NDArray[np.bool_], starts: NDArray[np.int64], weights: NDArray[np.float32]
) -> float:
    """Weighted mean over the hits of 1 / log2(rank + 2) in their lists, 0 from rank 10 on: the DCG that hits would have
    earned, had all items been seen alike (self-normalised inverse propensities)."""
    owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((-scores, owner))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts[owner[order]]
    gain = np.where(rank < 10, 1 / np.log2(rank + 2), 0)
    return float(np.average(gain[hits], weights=weights[hits])) if hits.any() else 0.0


def calibration(ranker: NumpyRanker, examples: Examples) -> NDArray[np.float32]:
    """(tasks, 2): slope and offset of each task's log-odds by logistic regression.

    The probability is that of a candidate of a list like these. A task that was not trained keeps (1, 0).
    """
    logits = ranker.logits(examples.features.astype(np.float32)).astype(np.float64)
    found = np.tile(np.float64([1, 0]), (len(TASKS), 1))
    for place, task in enumerate(TASKS):
        if task in ranker.config.trained:
            fitted = platt(logits[:, place], examples.hits[:, place])
            found[place] = fitted if fitted[0] > 0 else found[place]
    return found.astype(np.float32)


def platt(logits: NDArray[np.float64], hits: NDArray[np.bool_], steps: int = 50) -> NDArray[np.float64]:
    """(slope, offset) that make `logits` log-odds of `hits`: Newton's method with backtracking (Platt 1999; Lin et al.
    2007). Targets lie a little inside 0 and 1, so that hits that logits tell apart altogether give a finite slope."""
    count, positive = len(hits), int(hits.sum())
    target = np.where(hits, (positive + 1) / (positive + 2), 1 / (count - positive + 2))
    x = np.stack((logits, np.ones(count)), axis=1)
    share = target.mean()
    w = np.array([0.1, np.log(share / (1 - share)) - 0.1 * logits.mean()])

    def loss(w: NDArray[np.float64]) -> float:
        z = x @ w
        return float(np.sum(np.logaddexp(0, z) - target * z))

    reached = loss(w)
    for _ in range(steps):
        p = expit(x @ w)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, x.T @ (target - p))
        while (tried := loss(w + step)) > reached and np.abs(step).max() > 1e-9:
            step = step / 2
        if not reached - tried > 1e-9 * count:
            break
        w, reached = w + step, tried
    return w


def calibration_error(log_odds: NDArray[np.float32], hits: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: mean |foretold − observed| over bins of equal size (Naeini et al. 2015)."""
    p = expit(log_odds.astype(np.float64))
    groups = np.array_split(np.argsort(p, kind="stable"), bins)
    return float(sum(len(g) * abs(p[g].mean() - hits[g].mean()) for g in groups if len(g)) / max(len(p), 1))


def _sample(examples: Examples, rng: np.random.Generator, most: int) -> Examples:
    return examples.take(np.sort(rng.permutation(len(examples))[:most]))


def _standardise(network: RankerNetwork, features: NDArray[np.float16]) -> None:
    values = features[:: max(1, len(features) // 500_000)].astype(np.float32)
    deviation = values.std(axis=0)
    with torch.no_grad():
        network.mean.copy_(torch.as_tensor(values.mean(axis=0)))
        network.scale.copy_(torch.as_tensor(np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


class _Lists:
    """Batches of whole lists, and the listwise loss: of a user's candidates, which are the hits (softmax)."""

    def __init__(self, examples: Examples, tasks: list[int], settings: RankerSettings) -> None:
        self._examples, self._tasks, self._settings = examples, tasks, settings

    def batches(self, rng: np.random.Generator) -> Iterator[Examples]:
        order, size = rng.permutation(len(self._examples)), self._settings.batch_users
        for at in range(0, len(order), size):
            yield self._examples.take(order[at : at + size])

    def loss(self, model: nn.Module, batch: Examples) -> Tensor:
        """Mean over tasks of the weighted mean −ln softmax of each list's hits."""
        device = _device(model)
        logits = model(torch.as_tensor(batch.features.astype(np.float32), device=device))
        owner = torch.as_tensor(np.repeat(np.arange(len(batch)), np.diff(batch.starts)), device=device)
        weight, parts = torch.as_tensor(batch.weight, device=device), []
        for task in self._tasks:
            hits = torch.as_tensor(batch.hits[:, task].astype(np.float32), device=device) * weight
            score = logits[:, task].float()
            top = torch.full((len(batch),), -torch.inf, device=device).scatter_reduce(0, owner, score.detach(), "amax")
            total = torch.zeros(len(batch), device=device).index_add(0, owner, torch.exp(score - top[owner]))
            wrong = (torch.log(total) + top)[owner] - score
            parts.append((wrong * hits).sum() / hits.sum().clamp(min=1))
        return torch.stack(parts).mean()
