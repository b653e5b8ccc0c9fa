"""The listwise loss that rankers of search learn by, over lists of any length one after the other."""

import torch
from torch import Tensor


def list_softmax(values: Tensor, owner: Tensor, lists: int) -> Tensor:
    """Softmax of `values` (rows,) within each list; `owner` int64 (rows,) is the list of each row."""
    return torch.exp(_log_softmax(values, owner, lists))


def list_cross_entropy(scores: Tensor, target: Tensor, owner: Tensor, lists: int) -> Tensor:
    """Cross-entropy of `target` (rows,), how often each row should be chosen, with the softmax of the `scores` of its
    list, a choice (ListNet, Cao et al. 2007)."""
    return -(target * _log_softmax(scores, owner, lists)).sum() / target.sum().clamp(min=1e-6)


def _log_softmax(values: Tensor, owner: Tensor, lists: int) -> Tensor:
    top = torch.full((lists,), -torch.inf).scatter_reduce(0, owner, values.detach(), "amax")
    total = torch.zeros(lists).index_add(0, owner, torch.exp(values - top[owner]))
    return values - (torch.log(total) + top)[owner]
