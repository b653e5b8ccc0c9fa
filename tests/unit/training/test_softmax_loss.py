"""The blockwise softmax loss is the plain one, in value and in gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training import softmax_loss
from training.softmax_loss import mean_log_sum_exp


def unit_rows(count: int, width: int, seed: int) -> Tensor:
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows, dim=1).requires_grad_()


def plain(q: Tensor, v: Tensor, counts_for: Tensor, weights: Tensor, temperature: float) -> Tensor:
    every = torch.logsumexp(q.double() @ v.double().T / temperature + torch.log(counts_for.double()), dim=1)
    return ((every * weights).sum() / weights.sum()).float()


@pytest.mark.parametrize(
    ("half", "temperature", "tolerance"), [(False, 0.05, 1e-5), (False, 0.01, 1e-5), (True, 0.05, 2e-2)]
)
def test_value_and_gradients_are_those_of_the_formula(
    monkeypatch: pytest.MonkeyPatch, half: bool, temperature: float, tolerance: float
) -> None:
    monkeypatch.setattr(softmax_loss, "BLOCK_ENTRIES", 3 * 40)  # blocks of three rows, the last one shorter
    counts_for = torch.tensor([1.0] * 10 + [2.5] * 30)
    weights = torch.tensor([1.0, 0.5, 0.0, 2.0, 1.0, 1.0, 0.25])
    found = []
    for loss in (plain, lambda *given: mean_log_sum_exp(*given, half=half)):
        q, v = unit_rows(7, 32, 1), unit_rows(40, 32, 2)
        value = loss(q, v, counts_for, weights, temperature)
        (3 * value).backward()
        found.append((value.detach(), q.grad, v.grad))
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert float((ours - theirs).norm()) <= tolerance * float(theirs.norm())


def test_a_sample_that_stands_for_the_others_estimates_the_whole_sum() -> None:
    q, v = unit_rows(5, 16, 3).detach(), unit_rows(400, 16, 4).detach()
    weights = torch.ones(5)
    whole = mean_log_sum_exp(q, v, torch.ones(400), weights, 1.0)
    rng, estimates = np.random.default_rng(0), []
    for _ in range(50):
        drawn = np.concatenate([np.arange(20), 20 + rng.choice(380, 95, replace=False)])
        counts_for = torch.tensor([1.0] * 20 + [4.0] * 95)
        estimates.append(float(mean_log_sum_exp(q, v[drawn], counts_for, weights, 1.0)))
    assert np.mean(estimates) == pytest.approx(float(whole), abs=0.005)
