"""The multi-task ranker: shared dense layers over user × item features, one linear output a task beside them."""

import torch
from torch import Tensor, nn

from services.networks.ranker_config import TASKS, RankerConfig


class RankerNetwork(nn.Module):
    """`logit_t = a_t · x + b_t · h(x)`, x the features, standardised and cut off at five deviations.

    The linear part alone is a blend with learned weights; the dense part adds what features say together.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: RankerConfig, dropout: float = 0.1) -> None:
        super().__init__()
        first, second = config.hidden
        self.register_buffer("mean", torch.zeros(len(config.features)))
        self.register_buffer("scale", torch.ones(len(config.features)))
        self.wide = nn.Linear(len(config.features), len(TASKS))
        self.first, self.second = nn.Linear(len(config.features), first), nn.Linear(first, second)
        self.out = nn.Linear(second, len(TASKS), bias=False)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.out.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(…, F) to logits (…, tasks)."""
        x = ((features - self.mean) * self.scale).clamp(-5, 5)
        h = torch.relu(self.second(self.dropout(torch.relu(self.first(x)))))
        return self.wide(x) + self.out(self.dropout(h))
