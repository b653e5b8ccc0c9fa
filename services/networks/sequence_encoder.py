"""A causal transformer over a user's events, with learned biases for distance and elapsed time."""

import torch
from torch import Tensor, nn

from services.networks.user_config import EVENT_TYPES, GAP_BUCKETS, POSITION_BUCKETS, UserModelConfig


class SequenceEncoder(nn.Module):
    """What a user wants next, after each of his events.

    A token is the item's vector, scaled, plus embeddings of the event's type and of the time since the event before it.
    Attention scores get a bias by how many steps, and by how much time, two events lie apart (as in T5, Raffel et al.
    2020, and HSTU, Zhai et al. 2024), so that histories of any length and age share what is learned.
    """

    def __init__(self, config: UserModelConfig, dropout: float = 0.5) -> None:
        super().__init__()
        self.entry = nn.Linear(config.width, config.width)
        self.event_type = nn.Embedding(len(EVENT_TYPES) + 1, config.width)
        self.gap = nn.Embedding(GAP_BUCKETS, config.width)
        self.position_bias = nn.Parameter(torch.zeros(POSITION_BUCKETS, config.heads))
        self.time_bias = nn.Parameter(torch.zeros(GAP_BUCKETS, config.heads))
        self.blocks = nn.ModuleList(Block(config, dropout) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.exit = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.entry.weight.copy_(torch.eye(config.width) * config.width**0.5)
            self.exit.weight.copy_(torch.eye(config.width))
        nn.init.zeros_(self.entry.bias)
        nn.init.zeros_(self.exit.bias)
        nn.init.zeros_(self.event_type.weight)
        nn.init.zeros_(self.gap.weight)

    def forward(self, items: Tensor, types: Tensor, times: Tensor, known: Tensor) -> Tensor:
        """Unit query vectors after each event.

        Args:
            items: (B, L, W) item vectors, zero rows behind the end.
            types: (B, L) codes of event types.
            times: (B, L) seconds, NaN where there is an order but no times.
            known: (B, L) true for events, false behind the end.
        """
        length = items.shape[1]
        gaps = span_buckets(times[:, 1:] - times[:, :-1])
        gaps = nn.functional.pad(gaps, (1, 0))
        x = self.dropout(self.entry(items) + self.event_type(types) + self.gap(gaps))
        place = torch.arange(length, device=items.device)
        steps = (place[:, None] - place[None]).clamp(0, POSITION_BUCKETS - 1)
        spans = span_buckets(times[:, :, None] - times[:, None, :])
        bias = self.position_bias[steps] + self.time_bias[spans]
        hidden = (place[None, :, None] < place[None, None, :]) | ~known[:, None, :]
        hidden = hidden & (place[:, None] != place[None])[None]
        mask = bias.masked_fill(hidden[..., None], float("-inf")).permute(0, 3, 1, 2)
        for block in self.blocks:
            x = block(x, mask)
        return nn.functional.normalize(self.exit(self.norm(x)), dim=-1, eps=1e-6)


class Block(nn.Module):
    """Attention, then two dense layers, each beside what goes in (pre-norm)."""

    def __init__(self, config: UserModelConfig, dropout: float) -> None:
        super().__init__()
        self.heads = config.heads
        self.before = nn.LayerNorm(config.width)
        self.into = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.between = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.hidden * config.width)
        self.down = nn.Linear(config.hidden * config.width, config.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`x` (B, L, W), `mask` (B, heads, L, L) added to the scores."""
        count, length, width = x.shape
        q, k, v = self.into(self.before(x)).reshape(count, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        x = x + self.dropout(self.out(seen.transpose(1, 2).reshape(count, length, width)))
        dense = self.down(self.dropout(nn.functional.gelu(self.up(self.between(x)), approximate="tanh")))
        return x + self.dropout(dense)


def span_buckets(seconds: Tensor) -> Tensor:
    """Bucket of each time span: 0 where it is not known, else 1 + ⌊log2(1 + minutes)⌋, at most the last."""
    bucket = torch.log2(1 + seconds.abs() / 60).floor()
    return torch.nan_to_num(bucket + 1, nan=0.0).clamp(0, GAP_BUCKETS - 1).long()
