"""Training goes on where it was killed, stops when it helps no more, and is the same for the same seed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from training.trainer import Trained, TrainerSettings, seed_everything, train

WANTED = torch.tensor([[1.0, -2.0, 0.5]])


def model() -> nn.Linear:
    seed_everything(0)
    return nn.Linear(3, 1)


def batches(rng: np.random.Generator) -> Iterator[Tensor]:
    for _ in range(5):
        yield torch.as_tensor(rng.normal(size=(16, 3)), dtype=torch.float32)


def loss(net: nn.Module, batch: Tensor) -> Tensor:
    noise = torch.randn(len(batch), 1) * 0.01
    return ((net(batch) - batch @ WANTED.T + noise) ** 2).mean()


def fit(net: nn.Module, **settings: object) -> Trained:
    return train(net, batches, loss, TrainerSettings(learning_rate=0.1, warm_up_steps=1, **settings))


class Killed(Exception):
    pass


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = fit(model(), epochs=6, average=0.9).model.state_dict()

    def die(figures: dict[str, float]) -> None:
        if figures["epoch"] == 3:
            raise Killed

    settings = TrainerSettings(epochs=6, learning_rate=0.1, warm_up_steps=1, average=0.9, checkpoint=tmp_path)
    with pytest.raises(Killed):
        train(model(), batches, loss, settings, tell=die)
    torch.manual_seed(99)
    resumed = train(model(), batches, loss, settings)
    assert resumed.epochs == 6 and len(resumed.history) == 6
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, whole[name])


def test_training_ends_when_validation_helps_no_more_and_the_best_is_kept() -> None:
    net, seen = model(), []

    def validate(trained: nn.Module) -> float:
        seen.append(trained.weight.detach().clone())
        return -abs(len(seen) - 2)  # the second epoch is the best

    found = train(net, batches, loss, TrainerSettings(epochs=50, patience=3, learning_rate=0.1), validate)
    assert (found.epochs, found.best, len(seen)) == (2, 0.0, 5)
    assert torch.equal(net.weight, seen[1])


def test_accumulated_batches_make_one_step() -> None:
    net = model()
    before = net.weight.detach().clone()
    one = fit(net, epochs=1, accumulate=5)
    assert (one.model.weight - before).abs().max() <= 0.1 + 1e-6  # Adam moves each weight by its rate at most


def test_it_learns() -> None:
    assert torch.allclose(fit(model(), epochs=60).model.weight, WANTED, atol=0.05)
