"""Text encoders: any transformer with mean (or first-token) pooling, in large sorted batches."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from services.core.settings import DEFAULT_TEXT_ENCODER
from services.encoders.adapter import read_adapter, with_adapter
from services.encoders.batching import TokenBatch, one_ahead, token_batches
from services.encoders.device import DevicePolicy, resolve_device
from services.encoders.pretrained import (
    EncoderUnavailable,
    load_pretrained,
    packaged_path,
    read_json,
    transformers,
    weights_fingerprint,
)

Purpose = Literal["passage", "query"]
Progress = Callable[[int], None]

CHARACTERS_PER_TOKEN = 64
"""Texts are cut at this many characters per token of the model before tokenising: a megabyte of text costs nothing."""
CHUNK = 4_096
"""Texts tokenised and sorted together; bounds the memory of a stream of any length."""


@dataclass(frozen=True)
class TextEncoderConfig:
    """What shapes a vector beside the weights."""

    max_tokens: int = 256
    pooling: Literal["mean", "first"] = "mean"
    passage_prefix: str = ""
    query_prefix: str = ""


@dataclass(frozen=True)
class _Prepared:
    """A chunk's batches of distinct texts, and for each of its texts which of these it is."""

    inverse: np.ndarray
    batches: list[TokenBatch]


class TextEncoder:
    """Encodes texts into L2-normalised vectors. `version` names the vector space: equal versions are comparable."""

    def __init__(self, name: str, model: Any, tokenizer: Any, config: TextEncoderConfig, policy: DevicePolicy) -> None:
        self.name = name
        self.config = config
        self.policy = policy
        self.tokenizer = tokenizer
        self.model = model.eval().to(policy.device)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self.dimension = int(model.config.hidden_size)
        vocabulary = json.dumps(tokenizer.get_vocab(), sort_keys=True)
        self.version = f"{name.rstrip('/').rsplit('/', 1)[-1]}-" + weights_fingerprint(
            model.state_dict(), repr(config), vocabulary
        )

    def only_encode(self) -> None:
        """Keep the weights of linear layers in the autocast type, which they are otherwise cast to at each call: the
        vectors stay the same to the bit, and half the memory is read for each. Not for a model that is to learn."""
        for layer in self.model.modules():
            if self.policy.dtype is not None and isinstance(layer, torch.nn.Linear):
                layer.requires_grad_(False).to(self.policy.dtype)

    def encode(self, texts: Sequence[str], *, purpose: Purpose = "passage") -> np.ndarray:
        """float32 (n, dimension), rows of length 1, in the order of `texts`. Equal texts are encoded once.

        `purpose` matters to models trained with prefixes (e5): items and reviews are passages, a typed search a query.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        done = 0
        for chunk in self.encode_iter(texts, purpose=purpose):
            vectors[done : done + len(chunk)] = chunk
            done += len(chunk)
        return vectors

    def encode_iter(
        self,
        texts: Iterable[str],
        *,
        purpose: Purpose = "passage",
        chunk: int = CHUNK,
        progress: Progress | None = None,
    ) -> Iterator[np.ndarray]:
        """Encode a stream with bounded memory: float32 (≤ chunk, dimension) arrays in order.

        The next chunk is tokenised while one is encoded. `progress` is called with the number of texts done so far,
        after each chunk.
        """
        stream, done = iter(texts), 0
        parts = iter(lambda: list(islice(stream, chunk)), [])
        for prepared in one_ahead(partial(self._prepared, part, purpose) for part in parts):
            vectors = self._encode_chunk(prepared)
            yield vectors
            done += len(vectors)
            if progress is not None:
                progress(done)

    def _prepared(self, texts: Sequence[str], purpose: Purpose) -> _Prepared:
        positions: dict[str, int] = {}
        inverse = np.fromiter((positions.setdefault(text, len(positions)) for text in texts), np.int64, len(texts))
        sequences = self.tokenise(list(positions), purpose)
        return _Prepared(inverse, list(token_batches(sequences, self.policy.token_budget, self.pad_id)))

    def _encode_chunk(self, chunk: _Prepared) -> np.ndarray:
        rows, parts = [], []
        with self.policy.inference():
            for batch in chunk.batches:
                parts.extend(self._forward_within_memory(batch))
                rows.append(batch.rows)
            vectors = torch.cat(parts).cpu().numpy()  # one wait for the device a chunk, not one a batch
        unique = np.empty_like(vectors)
        unique[np.concatenate(rows)] = vectors
        return unique[chunk.inverse]

    def tokenise(self, texts: list[str], purpose: Purpose) -> list[list[int]]:
        """Token ids of each text, cut at the model's limit."""
        prefix = self.config.passage_prefix if purpose == "passage" else self.config.query_prefix
        if not texts:
            return []
        limit = CHARACTERS_PER_TOKEN * self.config.max_tokens
        return self.tokenizer(
            [prefix + _encodable(text[:limit]) for text in texts],
            truncation=True,
            max_length=self.config.max_tokens,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    def _forward_within_memory(self, batch: TokenBatch) -> list[torch.Tensor]:
        """The batch's vectors on the device; a batch too big for what the GPU has free is halved."""
        try:
            return [self._forward(batch)]
        except torch.OutOfMemoryError:
            if len(batch.rows) == 1:
                raise
            torch.cuda.empty_cache()
        half = len(batch.rows) // 2
        return [
            part
            for cut in (slice(None, half), slice(half, None))
            for part in self._forward_within_memory(TokenBatch(batch.rows[cut], batch.ids[cut], batch.mask[cut]))
        ]

    def _forward(self, batch: TokenBatch) -> torch.Tensor:
        ids_BL = self.policy.to_device(torch.from_numpy(batch.ids))
        mask_BL = self.policy.to_device(torch.from_numpy(batch.mask))
        hidden_BLD = self.model(input_ids=ids_BL, attention_mask=mask_BL).last_hidden_state
        return pooled(hidden_BLD, mask_BL, self.config)


def pooled(hidden_BLD: torch.Tensor, mask_BL: torch.Tensor, config: TextEncoderConfig) -> torch.Tensor:
    """(B, D) unit rows of the tokens' representations."""
    if config.pooling == "first":
        return F.normalize(hidden_BLD[:, 0].float(), dim=1)
    weight_BL1 = mask_BL.unsqueeze(-1)
    return F.normalize((hidden_BLD.float() * weight_BL1).sum(1) / weight_BL1.sum(1).clamp(min=1), dim=1)


def load_text_encoder(name: str = DEFAULT_TEXT_ENCODER, device: str = "auto") -> TextEncoder:
    """The encoder of that name: the packaged default, a folder (of a model, or of an adapter on top of one), or a
    Hugging Face model (cache first, then hub).

    Raises:
        EncoderUnavailable: the model is not here and cannot be fetched; the detail says what to do.
        ConfigurationError: the device is unknown or absent.
    """
    policy = resolve_device(device)
    folder = Path(name).expanduser()
    adapter = read_adapter(folder)
    if adapter is None:
        return TextEncoder(name, *load_parts(name), policy)
    model, tokenizer, config = load_parts(adapter.base)
    if TextEncoder(adapter.base, model, tokenizer, config, policy).version != adapter.base_version:
        raise EncoderUnavailable(
            f"{folder} changes {adapter.base_version}, which is not the {adapter.base} that is here"
        )
    return TextEncoder(name, with_adapter(model, folder), tokenizer, config, policy)


def load_parts(name: str) -> tuple[Any, Any, TextEncoderConfig]:
    """(model, tokenizer, config) of a base encoder.

    Raises:
        EncoderUnavailable: as `load_text_encoder`.
    """
    library = transformers()
    packaged = packaged_path(name)
    source = str(packaged) if packaged is not None else str(Path(name).expanduser()) if Path(name).exists() else name
    tokenizer = load_pretrained(library.AutoTokenizer, source)
    model = load_pretrained(library.AutoModel, source, dtype=torch.float32)
    if getattr(model.config, "is_encoder_decoder", False):
        model = model.get_encoder()
    return model, tokenizer, _read_config(name, source, model, tokenizer)


def _read_config(name: str, source: str, model: Any, tokenizer: Any) -> TextEncoderConfig:
    """The config that the model was trained with, from the files that sentence-transformers keeps beside it."""
    pooling = read_json(source, "1_Pooling/config.json") or {}
    limits = [int(getattr(model.config, "max_position_embeddings", 512) or 512), int(tokenizer.model_max_length), 512]
    sentence = read_json(source, "sentence_bert_config.json") or {}
    if sentence.get("max_seq_length"):
        limits.append(int(sentence["max_seq_length"]))
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        limits[0] -= 2  # these models number positions from padding_idx + 1
    e5 = "e5" in name.rstrip("/").rsplit("/", 1)[-1].lower().replace("_", "-").split("-")
    return TextEncoderConfig(
        max_tokens=min(limits),
        pooling="first" if pooling.get("pooling_mode_cls_token") else "mean",
        passage_prefix="passage: " if e5 else "",
        query_prefix="query: " if e5 else "",
    )


def _encodable(text: str) -> str:
    """The text without lone surrogates, which no tokenizer accepts."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
