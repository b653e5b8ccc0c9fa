"""The training loop: seeds, mixed precision, accumulation, moving average, early stopping, checkpoints.

A run that is killed goes on from its last finished epoch when it is started again with the same `checkpoint` folder.
"""

import copy
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from services.core.logging import get_logger
from training.parallel import ALONE, Alone

log = get_logger("training")

CHECKPOINT = "checkpoint.pt"
RANK_SEED = 1_000_003

Tell = Callable[[dict[str, Any]], None]
"""Hears of an epoch: `stage`, `epoch`, `loss`, `seconds`, and `validation` where there is one."""

KERNELS_KEPT = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16"
"""Every batch has other shapes; oneDNN would keep a kernel with its buffers for the last 1,024 of them: gigabytes. It
reads this at its first product, so it must stand before the first batch."""


@dataclass(frozen=True)
class TrainerSettings:
    """`average`: decay of the moving average of the weights (0: none). `epochs`: exactly so many when there is nothing
    to validate, at most so many else. `stage`: which of a run's models this is; it is told with each epoch's figures.
    `group`: the processes that train the model together."""

    epochs: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warm_up_steps: int = 100
    accumulate: int = 1
    patience: int = 3
    average: float = 0.0
    clip: float = 1.0
    seed: int = 0
    device: str = "cpu"
    checkpoint: Path | None = None
    stage: str = ""
    group: Alone = ALONE


@dataclass
class Trained:
    """`model` with the best weights; `epochs` it took to get them; one entry of `history` an epoch."""

    model: nn.Module
    epochs: int
    best: float | None
    seconds: float
    history: list[dict[str, float]] = field(default_factory=list)


def seed_everything(seed: int) -> np.random.Generator:
    """Seed Python, NumPy and torch; a generator for what is drawn explicitly."""
    random.seed(seed)
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def train(
    model: nn.Module,
    batches: Callable[[np.random.Generator], Iterable[Any]],
    loss_of: Callable[[nn.Module, Any], Tensor],
    settings: TrainerSettings,
    validate: Callable[[nn.Module], float] | None = None,
    tell: Tell = lambda _: None,
    generators: Sequence[np.random.Generator] = (),
    weight_of: Callable[[Any], float] = lambda _: 1.0,
) -> Trained:
    """Fit `model` to the batches of each epoch.

    Args:
        batches: the batches of one epoch, drawn with the generator.
        loss_of: the mean loss of one batch.
        validate: higher is better; None trains for exactly `epochs`.
        tell: hears each epoch's figures.
        generators: what the loss draws with: a run that is resumed goes on with their numbers.
        weight_of: of this worker's share of a batch among the shares of all workers; 0 when it got nothing.
    """
    os.environ.setdefault(*KERNELS_KEPT)
    run = _Run(model, settings, generators)
    run.resume()
    while run.epoch < settings.epochs and run.waited < settings.patience:
        figures = run.one_epoch(batches, loss_of, weight_of)
        if validate is not None:
            figures["validation"] = run.judge(validate)
        run.history.append(figures)
        run.keep()
        tell({**figures, "stage": settings.stage})
    if validate is None:
        run.best_epoch, run.best_weights = run.epoch, run.current_weights()
    model.load_state_dict(run.best_weights)
    model.eval()
    return Trained(model, run.best_epoch, run.best, run.seconds, run.history)


class _Run:
    """The state of one run: all that a checkpoint holds."""

    def __init__(
        self, model: nn.Module, settings: TrainerSettings, generators: Sequence[np.random.Generator] = ()
    ) -> None:
        self.model, self.settings = model.to(settings.device), settings
        self.rng = np.random.default_rng(settings.seed)
        self.generators = (self.rng, *generators)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.98)
        )
        self.averaged = copy.deepcopy(model.state_dict()) if settings.average else None
        self.epoch = self.step = self.waited = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights = copy.deepcopy(model.state_dict())
        self.seconds = 0.0
        if settings.group.rank:
            torch.manual_seed(settings.seed + RANK_SEED * settings.group.rank)  # the same weights, another dropout
        self.history: list[dict[str, float]] = []

    def one_epoch(
        self,
        batches: Callable[[np.random.Generator], Iterable[Any]],
        loss_of: Callable[[nn.Module, Any], Tensor],
        weight_of: Callable[[Any], float],
    ) -> dict[str, float]:
        settings, began = self.settings, time.perf_counter()
        self.model.train()
        total, count = 0.0, 0
        half = settings.device.startswith("cuda")
        for batch in batches(self.rng):
            weight = weight_of(batch)
            share, count = weight / settings.group.total(weight), count + 1
            if share:
                with torch.autocast(settings.device.split(":")[0], torch.bfloat16, enabled=half):
                    loss = loss_of(self.model, batch) * share
                (loss / settings.accumulate).backward()
                total += float(loss.detach())
            if count % settings.accumulate == 0:
                self._update()
        if count % settings.accumulate:
            self._update()
        self.epoch += 1
        seconds = time.perf_counter() - began
        self.seconds += seconds
        return {"epoch": self.epoch, "loss": settings.group.total(total) / max(count, 1), "seconds": seconds}

    def judge(self, validate: Callable[[nn.Module], float]) -> float:
        """Validate the weights that would be kept; remember them if they are the best so far."""
        live = copy.deepcopy(self.model.state_dict())
        self.model.load_state_dict(self.current_weights())
        self.model.eval()
        with torch.no_grad():
            reached = self.settings.group.agreed(0.0 if self.settings.group.rank else validate(self.model))
        if self.best is None or reached > self.best:
            self.best, self.best_epoch, self.waited = reached, self.epoch, 0
            self.best_weights = copy.deepcopy(self.model.state_dict())
        else:
            self.waited += 1
        self.model.load_state_dict(live)
        return reached

    def current_weights(self) -> dict[str, Tensor]:
        return copy.deepcopy(self.averaged if self.averaged is not None else self.model.state_dict())

    def _update(self) -> None:
        settings = self.settings
        settings.group.sum_gradients(self.model)
        nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
        share = min(1.0, (self.step + 1) / max(settings.warm_up_steps, 1))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * share
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.averaged is not None:
            decay = min(settings.average, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                for name, value in self.model.state_dict().items():
                    if value.is_floating_point():
                        self.averaged[name].lerp_(value, 1 - decay)

    def keep(self) -> None:
        """Write a checkpoint, whole or not at all."""
        if self.settings.checkpoint is None or self.settings.group.rank:
            return
        self.settings.checkpoint.mkdir(parents=True, exist_ok=True)
        path = self.settings.checkpoint / CHECKPOINT
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "best_weights": self.best_weights,
            "numbers": {name: getattr(self, name) for name in _NUMBERS},
            "history": self.history,
            "numpy": [generator.bit_generator.state for generator in self.generators],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.settings.device.startswith("cuda") else [],
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        temporary.replace(path)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.settings.checkpoint is None or not (path := self.settings.checkpoint / CHECKPOINT).is_file():
            return
        state = torch.load(path, map_location=self.settings.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.averaged, self.best_weights, self.history = state["averaged"], state["best_weights"], state["history"]
        for name in _NUMBERS:
            setattr(self, name, state["numbers"][name])
        for generator, numbers in zip(self.generators, state["numpy"], strict=True):
            generator.bit_generator.state = numbers
        if self.settings.group.rank:
            torch.manual_seed(self.settings.seed + RANK_SEED * self.settings.group.rank + self.epoch)
        else:
            torch.set_rng_state(state["torch"].cpu())
        if state["cuda"] and not self.settings.group.rank:
            torch.cuda.set_rng_state_all([numbers.cpu() for numbers in state["cuda"]])
        log.info("training-resumed", epoch=self.epoch)


_NUMBERS = ("epoch", "step", "waited", "best_epoch", "best", "seconds")
