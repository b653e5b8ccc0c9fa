"""Several processes that train one model together: each takes its share of every batch, gradients are summed.

The sum is weighed as one process would weigh it, so the number of workers changes nothing but time (and the noise of
dropout).
"""

import torch
from torch import distributed, nn


class Alone:
    """One process."""

    rank, count = 0, 1

    def total(self, value: float) -> float:
        """The sum over all workers."""
        return value

    def sum_gradients(self, model: nn.Module) -> None:
        """Make every worker's gradients the sum of all."""

    def agreed(self, value: float) -> float:
        """The first worker's value: what ends a run must be the same everywhere."""
        return value


ALONE = Alone()


class Group(Alone):
    """The processes of torch's default group."""

    def __init__(self, device: str = "cpu") -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()
        self._device = device

    def total(self, value: float) -> float:
        number = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(number)
        return float(number)

    def sum_gradients(self, model: nn.Module) -> None:
        learned = [p for p in model.parameters() if p.requires_grad]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in learned]
        flat = torch.cat([part.reshape(-1) for part in parts])
        distributed.all_reduce(flat)
        for p, part in zip(learned, flat.split([p.numel() for p in learned]), strict=True):
            p.grad = part.view_as(p)

    def agreed(self, value: float) -> float:
        number = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.broadcast(number, 0)
        return float(number)
