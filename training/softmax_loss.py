"""Softmax cross entropy over many items without keeping their logits: loss and gradients in one pass, block by block.

A block of rows stays in the cache from its logits to its part of both gradients. Where a processor multiplies bfloat16
natively, the three matrix products are done in it, as mixed precision does on a GPU; sums are float32.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

BLOCK_ENTRIES = 2_000_000
"""Logits of one block of rows: 4 MB in bfloat16."""

LARGEST_EXPONENT = 60.0
"""Logits are shifted to at most this: e^60 · 10⁶ items still is a float32."""


def native_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 are faster than in float32 there."""
    if not device.startswith("cpu"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def mean_log_sum_exp(
    queries: Tensor, items: Tensor, counts_for: Tensor, weights: Tensor, temperature: float, half: bool = False
) -> Tensor:
    """`Σ_r weight_r · ln Σ_i counts_for_i · exp(q_r · v_i / temperature) / Σ_r weight_r`, differentiable by q and v.

    Args:
        queries: (N, W), unit rows.
        items: (C, W), unit rows.
        counts_for: (C,): how many items each stands for, 1 / its chance to have been drawn.
        weights: (N,), not all 0.
        half: matrix products in bfloat16.
    """
    return _MeanLogSumExp.apply(queries, items, counts_for, weights / weights.sum(), temperature, half)


class _MeanLogSumExp(Function):
    """Gradients are made in the forward pass: by then each block's exponentials are at hand."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, items: Tensor, counts_for: Tensor, shares: Tensor, temperature: float, half: bool
    ) -> Tensor:
        kind = torch.bfloat16 if half else torch.float32
        scale = 1 / temperature
        shift = max(0.0, scale - LARGEST_EXPONENT)
        v = items.to(kind)
        counted = (items * counts_for[:, None]).to(kind)
        total = queries.new_zeros(())
        by_query, by_item = torch.empty_like(queries), torch.zeros_like(items)
        step = max(1, BLOCK_ENTRIES // max(len(items), 1))
        for at in range(0, len(queries), step):
            q, share = queries[at : at + step], shares[at : at + step]
            e = torch.mm((q * scale).to(kind), v.T)
            e = (e - shift if shift else e).exp_()
            sums = e.float() @ counts_for
            total += share @ (torch.log(sums) + shift)
            part = (share * scale / sums)[:, None]
            by_query[at : at + step] = torch.mm(e, counted).to(q.dtype) * part
            by_item += torch.mm(e.T, (q * part).to(kind))
        ctx.save_for_backward(by_query, by_item * counts_for[:, None])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        by_query, by_item = ctx.saved_tensors
        return grad * by_query, grad * by_item, None, None, None, None
