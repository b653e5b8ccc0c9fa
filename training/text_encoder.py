"""Adapts the text encoder to a shop: low-rank changes (LoRA) learned by telling which texts belong together.

InfoNCE over a batch (van den Oord et al. 2018), both ways: of all right sides, which is this left side's? Items that
the encoder has never seen in a pair say whether it got better. Only the low-rank matrices learn.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from services.core.errors import InvalidInput, NotReady
from services.encoders.adapter import AdapterManifest, write_adapter
from services.encoders.batching import token_batches
from services.encoders.text import TextEncoder, pooled
from training.commit import commit
from training.recommender import top_items
from training.text_pairs import TextPairs, text_pairs
from training.tracking import TrackingConfig, tracked
from training.trainer import Tell, TrainerSettings, seed_everything, train

__all__ = ["TrackingConfig", "adapt", "save", "text_adapter", "text_pairs", "tracked"]

STAGE = "text-encoder"
FEWEST_PAIRS = 100
FOUND_AT = 10
TOKENS_AT_ONCE = 8_192


@dataclass(frozen=True)
class TextAdapterSettings:
    """`rank`, `alpha`, `dropout` of the low-rank changes; `most_tokens` of a text are read while training; `pairs`: at
    most so many; `held_items`: the share of the items that no pair of the training names; `candidates`: among so many
    items the right one must be found."""

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    temperature: float = 0.05
    most_tokens: int = 64
    batch_pairs: int = 64
    pairs: int = 20_000
    held_items: float = 0.1
    candidates: int = 2_000
    asked: int = 500
    learning_rate: float = 5e-4
    warm_up_steps: int = 50
    max_epochs: int = 5
    patience: int = 1


TEXT_ADAPTERS: dict[str, TextAdapterSettings] = {
    "default": TextAdapterSettings(),
    "small": TextAdapterSettings(pairs=2_000, max_epochs=2),
}


@dataclass(frozen=True)
class AdaptedText:
    """`model`: the base with the changes beside it (peft); `before`, `after`: recall@10 on held-out items."""

    model: Any
    before: float
    after: float
    epochs: int
    seconds: float


def text_adapter(name: str) -> TextAdapterSettings:
    """The settings of a name.

    Raises:
        InvalidInput: there are none.
    """
    if name not in TEXT_ADAPTERS:
        raise InvalidInput(f"There is no configuration {name!r}: --config takes {', '.join(TEXT_ADAPTERS)}")
    return TEXT_ADAPTERS[name]


def adapt(
    encoder: TextEncoder,
    model: nn.Module,
    pairs: TextPairs,
    settings: TextAdapterSettings,
    seed: int,
    *,
    tell: Tell = lambda _: None,
    checkpoint: Path | None = None,
) -> AdaptedText:
    """Learn low-rank changes of `model`, which `encoder` reads texts with.

    Raises:
        NotReady: there are too few pairs.
    """
    taught, held = parted(pairs, settings, seed)
    if len(taught) < FEWEST_PAIRS or not len(held):
        raise NotReady(
            f"{len(pairs)} pairs of texts are too few to adapt an encoder: at least {FEWEST_PAIRS} are needed"
        )
    seed_everything(seed)
    changed = peft.get_peft_model(
        model,
        peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules="all-linear",
            exclude_modules=r".*pooler.*",
        ),
    )
    objective = SamePair(encoder, pairs, settings)
    before = objective.recall(changed.eval(), held)
    trained = train(
        changed,
        lambda rng: objective.batches(taught, rng),
        objective.loss,
        TrainerSettings(
            epochs=settings.max_epochs,
            learning_rate=settings.learning_rate,
            warm_up_steps=settings.warm_up_steps,
            patience=settings.patience,
            seed=seed,
            device=str(encoder.policy.device),
            checkpoint=checkpoint,
            stage=STAGE,
        ),
        lambda some: objective.recall(some, held),
        tell,
    )
    return AdaptedText(trained.model, before, trained.best or 0.0, trained.epochs, trained.seconds)


def parted(pairs: TextPairs, settings: TextAdapterSettings, seed: int) -> tuple[TextPairs, TextPairs]:
    """(taught, held): pairs without any of the held-out items, and pairs whose right side is one."""
    items = np.unique(pairs.right)
    rng = np.random.default_rng(seed + 1)
    out = np.zeros(len(pairs.texts), bool)
    out[rng.permutation(items)[: max(1, round(settings.held_items * len(items)))]] = True
    taught = np.flatnonzero(~out[pairs.left] & ~out[pairs.right])
    held = np.flatnonzero(out[pairs.right])
    return pairs.take(taught), pairs.take(rng.permutation(held)[: settings.asked])


class SamePair:
    """The objective over pairs, and how well the right side of unseen ones is found."""

    def __init__(self, encoder: TextEncoder, pairs: TextPairs, settings: TextAdapterSettings) -> None:
        self._encoder, self._settings, self._item = encoder, settings, pairs.item
        query = pairs.item < 0
        texts = np.array(pairs.texts, object)
        self._tokens: list[list[int]] = [[]] * len(texts)
        for rows, purpose in ((np.flatnonzero(~query), "passage"), (np.flatnonzero(query), "query")):
            for row, tokens in zip(rows.tolist(), encoder.tokenise(texts[rows].tolist(), purpose), strict=True):
                cut = len(tokens) > settings.most_tokens
                self._tokens[row] = [*tokens[: settings.most_tokens - 1], tokens[-1]] if cut else tokens

    def batches(self, pairs: TextPairs, rng: np.random.Generator) -> Iterator[TextPairs]:
        """All pairs once, in random order."""
        order, size = rng.permutation(len(pairs)), self._settings.batch_pairs
        for at in range(0, len(order) - 1, size):
            yield pairs.take(order[at : at + size])

    def loss(self, model: nn.Module, batch: TextPairs) -> Tensor:
        """Mean over both directions; a text that stands twice in a batch is no negative of itself."""
        rows, place = np.unique(np.concatenate((batch.left, batch.right)), return_inverse=True)
        vectors = self._vectors(model, rows)[torch.as_tensor(place, device=self._encoder.policy.device)]
        left, right = vectors.chunk(2)
        score = left @ right.T / self._settings.temperature
        own = torch.arange(len(batch), device=score.device)
        parts = []
        for logits, same in ((score, _repeated(batch.right)), (score.T, _repeated(batch.left))):
            masked = logits.masked_fill(torch.as_tensor(same, device=score.device), -torch.inf)
            parts.append(F.cross_entropy(masked, own))
        return (parts[0] + parts[1]) / 2

    @torch.no_grad()
    def recall(self, model: nn.Module, held: TextPairs) -> float:
        """Recall@10 of the right sides among the candidates: the held-out items first, then others."""
        wanted = np.unique(held.right)
        others = np.setdiff1d(np.flatnonzero((self._item >= 0) & [bool(tokens) for tokens in self._tokens]), wanted)
        step = max(1, -(-len(others) // max(1, self._settings.candidates - len(wanted))))
        candidates = np.concatenate((wanted, others[::step]))
        items, queries = self._vectors(model, candidates), self._vectors(model, held.left)
        score = (queries @ items.T).float().cpu().numpy()
        place = np.full(len(self._tokens), -1)
        place[candidates] = np.arange(len(candidates))
        itself = place[held.left]
        score[np.flatnonzero(itself >= 0), itself[itself >= 0]] = -np.inf
        return float((top_items(score, FOUND_AT) == place[held.right][:, None]).any(axis=1).mean())

    def _vectors(self, model: nn.Module, rows: NDArray) -> Tensor:
        """(n, D) unit rows of some texts, encoded in batches of like length."""
        parts, order = [], []
        policy = self._encoder.policy
        for batch in token_batches([self._tokens[row] for row in rows.tolist()], TOKENS_AT_ONCE, self._encoder.pad_id):
            ids, mask = (torch.from_numpy(array).to(policy.device) for array in (batch.ids, batch.mask))
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
            parts.append(pooled(hidden, mask, self._encoder.config))
            order.append(batch.rows)
        place = np.empty(len(rows), np.int64)
        place[np.concatenate(order)] = np.arange(len(rows))
        return torch.cat(parts)[torch.as_tensor(place, device=policy.device)]


def _repeated(rows: NDArray) -> NDArray[np.bool_]:
    """(n, n): the other places at which the same text stands."""
    same = rows[:, None] == rows[None, :]
    np.fill_diagonal(same, False)
    return same


def save(folder: Path, encoder: TextEncoder, adapted: AdaptedText, pairs: TextPairs, config: str, seed: int) -> None:
    """Keep an adapter where `PORTRAIT_TEXT_ENCODER` can name it."""
    manifest = AdapterManifest(
        base=encoder.name,
        base_version=encoder.version,
        created=time.time(),
        config=config,
        seed=seed,
        pairs=pairs.counts(),
        before=round(adapted.before, 4),
        after=round(adapted.after, 4),
        epochs=adapted.epochs,
        seconds=round(adapted.seconds, 1),
        commit=commit(),
    )
    write_adapter(folder, adapted.model, manifest)
