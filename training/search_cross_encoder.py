"""Trains a cross-encoder of search on judged pairs: its upper layers alone, on states of the lower ones kept on disk.

What the frozen layers (by default the embeddings of tokens alone) make of a pair never changes, so it is computed once
and read by every training.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.encoders.device import resolve_device
from services.networks.cross_encoder import LowerLayers, PairTokens, UpperLayers
from training.list_loss import list_cross_entropy, list_softmax

FloatArray = NDArray[np.float32]
CHUNK_PAIRS = 256
WIDTH = 384


@dataclass(frozen=True)
class CrossEncoderSettings:
    """`batch_pairs`: whole lists until there are so many. `listwise`: what
    the loss over each query's list counts beside the squared error of each pair's grade. Rates fall to nothing after
    the share `warm_up` of the steps. `learning_rate`: of layers of `WIDTH`; wider ones learn less in proportion, as
    Adam's should (Yang et al. 2022). At 1e-4, read from the first token of the upper three layers, every pair ended
    with the same score."""

    epochs: int = 2
    batch_pairs: int = 32
    learning_rate: float = 8e-5
    head_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.05
    listwise: float = 0.5
    temperature: float = 0.5


@dataclass(frozen=True)
class PairStates:
    """What the frozen layers made of n pairs: `hidden` float16 (T, D), memory-mapped; pair i owns the rows
    `starts[i]` to `starts[i + 1]`."""

    hidden: NDArray[np.float16]
    starts: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """((T, D), lengths (n,)) of some pairs, in the order given."""
        lengths = (self.starts[1:] - self.starts[:-1])[rows]
        within = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self.starts[rows] - within, lengths)
        return torch.from_numpy(self.hidden[places].astype(np.float32)), torch.from_numpy(lengths)


def pair_states(
    lower: LowerLayers, pairs: PairTokens, path: Path, tell: Callable[[int], None] = lambda _: None
) -> PairStates:
    """The states of all pairs, from the file where it is whole."""
    width = lower.embeddings.word_embeddings.embedding_dim
    done = path.with_suffix(".done")
    shape = (int(pairs.starts[-1]), width)
    if not done.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        order = np.argsort(np.diff(pairs.starts), kind="stable")
        hidden = np.lib.format.open_memmap(path, "w+", np.float16, shape)
        with resolve_device("cpu").inference():
            for at in range(0, len(order), CHUNK_PAIRS):
                rows = order[at : at + CHUNK_PAIRS]
                some, places = _some(pairs, rows)
                hidden[places] = lower(some)[0].float().numpy().astype(np.float16)
                tell(min(at + CHUNK_PAIRS, len(order)))
        hidden.flush()
        done.touch()
    return PairStates(np.load(path, mmap_mode="r"), pairs.starts)


def _some(pairs: PairTokens, rows: NDArray[np.int64]) -> tuple[PairTokens, NDArray[np.int64]]:
    lengths = np.diff(pairs.starts)[rows]
    starts = np.concatenate(([0], np.cumsum(lengths)))
    places = np.arange(starts[-1]) + np.repeat(pairs.starts[rows] - starts[:-1], lengths)
    return PairTokens(pairs.ids[places], pairs.places[places], pairs.sides[places], starts), places


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs in lists one after the other from `starts` int64 (lists + 1,): `row` int64 (n,) of the states, `grade` and
    `gain` float64 (n,)."""

    row: NDArray[np.int64]
    grade: NDArray[np.float64]
    gain: NDArray[np.float64]
    starts: NDArray[np.int64]

    def take(self, lists: NDArray[np.int64]) -> "JudgedPairs":
        """Some of the lists, in the order given."""
        rows, owner = _rows(self.starts, lists)
        counts = np.bincount(owner, minlength=len(lists))
        return JudgedPairs(self.row[rows], self.grade[rows], self.gain[rows], np.concatenate(([0], np.cumsum(counts))))


@dataclass(frozen=True)
class TaughtCrossEncoder:
    """`before` float32 (n,): the score of each taught pair just before it was learned from; `step` int64 (n,): when
    that was, of `steps` in all."""

    upper: UpperLayers
    before: FloatArray
    step: NDArray[np.int64]
    steps: int


def teach_cross_encoder(
    upper: UpperLayers,
    states: PairStates,
    pairs: JudgedPairs,
    settings: CrossEncoderSettings,
    seed: int = 0,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> TaughtCrossEncoder:
    """Have `upper`, which is changed, learn grades: squared error of each pair's, standardised, and ListNet of each
    list."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    goal = torch.as_tensor((pairs.grade - pairs.grade.mean()) / max(pairs.grade.std(), 1e-6), dtype=torch.float32)
    gain = torch.as_tensor(pairs.gain / settings.temperature, dtype=torch.float32)
    sharpness = torch.tensor(math.log(2.0), requires_grad=True)
    groups = [
        {"params": upper.layers.parameters(), "lr": settings.learning_rate * min(1.0, WIDTH / upper.head.in_features)},
        {"params": [*upper.head.parameters(), sharpness], "lr": settings.head_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, betas=(0.9, 0.98), fused=True)
    batches = [lists for _ in range(settings.epochs) for lists in _batches(pairs.starts, settings.batch_pairs, rng)]
    warm = max(1, round(settings.warm_up * len(batches)))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, max(len(batches) - step, 0) / max(len(batches) - warm, 1))
    )
    before, when = np.full(len(pairs.row), np.nan, np.float32), np.zeros(len(pairs.row), np.int64)
    policy = resolve_device("cpu")
    upper.train()
    for step, lists in enumerate(batches):
        rows, owner = _rows(pairs.starts, lists)
        with policy.autocast():
            said = upper(*states.take(pairs.row[rows])).float()
        fresh = np.isnan(before[rows])
        before[rows[fresh]], when[rows[fresh]] = said.detach().numpy()[fresh], step
        squared = torch.mean((said - goal[rows]) ** 2)
        of = torch.as_tensor(owner)
        listed = list_cross_entropy(said * sharpness.exp(), list_softmax(gain[rows], of, len(lists)), of, len(lists))
        loss = squared + settings.listwise * listed
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(upper.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        tell({"step": step, "of": len(batches), "squared": float(squared.detach()), "listwise": float(listed.detach())})
    return TaughtCrossEncoder(upper.eval(), before, when, len(batches))


def cross_scores(
    upper: UpperLayers, states: PairStates, rows: NDArray[np.int64], chunk: int = CHUNK_PAIRS
) -> FloatArray:
    """float32 (n,): what the texts of some pairs are worth."""
    order = np.argsort(np.diff(states.starts)[rows], kind="stable")
    scores = np.empty(len(rows), np.float32)
    with resolve_device("cpu").inference():
        for at in range(0, len(order), chunk):
            some = order[at : at + chunk]
            scores[some] = upper(*states.take(rows[some])).float().numpy()
    return scores


def _batches(starts: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """All lists in a random order, so many a batch that their rows are `size` or a little more."""
    order = rng.permutation(len(starts) - 1)
    ends = np.cumsum(np.diff(starts)[order])
    return np.split(order, np.flatnonzero(np.diff(ends // size)) + 1)


def _rows(starts: NDArray[np.int64], lists: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of the lists one after the other, the place of each row's list in `lists`)."""
    counts = np.diff(starts)[lists]
    owner = np.repeat(np.arange(len(lists)), counts)
    within = np.cumsum(counts) - counts
    return np.arange(len(owner)) - within[owner] + starts[lists][owner], owner
