"""A cross-encoder: a transformer that reads a query and a title together, and one number of how well they fit.

The lower layers are a text encoder's, unchanged; the upper ones and the head are learned from judged pairs
(`training.search_cross_encoder`). Tokens of a batch lie one after the other without padding: shapes with T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from services.core.errors import ConfigurationError


@dataclass(frozen=True)
class CrossEncoderConfig:
    """`layers` of the encoder are used, the first `frozen` of them as they are. A pair is cut at `query_tokens` and
    `most_tokens` in all. `mean_pooling`: the head reads the mean of all tokens, not the first one."""

    layers: int = 6
    frozen: int = 3
    query_tokens: int = 16
    most_tokens: int = 48
    mean_pooling: bool = False


LEARNING_LAYERS = 6


def network_of(model: Any) -> CrossEncoderConfig:
    """All layers of an encoder, of which the upper six learn, read at the mean of all tokens."""
    layers = int(model.config.num_hidden_layers)
    return CrossEncoderConfig(layers, frozen=max(0, layers - LEARNING_LAYERS), mean_pooling=True)


@dataclass(frozen=True)
class PairTokens:
    """n pairs as `[CLS] query [SEP] title [SEP]`, one after the other from `starts` int64 (n + 1,): `ids`, `places` in
    the pair and `sides` (0: query, 1: title) int64 (T,)."""

    ids: NDArray[np.int64]
    places: NDArray[np.int64]
    sides: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1


class PairTokenizer:
    """Makes pairs of texts, each text tokenised once."""

    def __init__(self, tokenizer: Any, config: CrossEncoderConfig) -> None:
        self._tokenizer, self._config = tokenizer, config

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any mark of its beginning or end."""
        if not texts:
            return []
        limit = 64 * self._config.most_tokens
        return self._tokenizer([text[:limit] for text in texts], add_special_tokens=False, verbose=False)["input_ids"]

    def pairs(self, queries: Sequence[list[int]], titles: Sequence[list[int]]) -> PairTokens:
        """Of parallel sequences."""
        begin, end = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        rows, first = [], []
        for query, title in zip(queries, titles, strict=True):
            left = [begin, *query[: self._config.query_tokens], end]
            rows.append([*left, *title[: self._config.most_tokens - len(left) - 1], end])
            first.append(len(left))
        lengths = np.array([len(row) for row in rows], np.int64)
        starts = np.concatenate(([0], np.cumsum(lengths)))
        places = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        sides = (places >= np.repeat(np.array(first, np.int64), lengths)).astype(np.int64)
        return PairTokens(np.fromiter(chain.from_iterable(rows), np.int64, int(starts[-1])), places, sides, starts)


class Packing:
    """Where the tokens of a batch of pairs lie when they are padded to one length: `mask` bool (B, L). `distances`
    float (heads, most tokens, most tokens), where the encoder has them: added to what a token heeds of another.
    `heeded`: the mask of attention that follows, bool (B, 1, 1, L), or float (B, heads, L, L) with distances."""

    def __init__(self, lengths: Tensor, distances: Tensor | None = None) -> None:
        longest = int(lengths.max())
        self.mask = torch.arange(longest)[None, :] < lengths[:, None]
        self.first = torch.cumsum(lengths, 0) - lengths
        self.heeded = self.mask[:, None, None, :]
        if distances is not None:
            near = distances[:, :longest, :longest]
            self.heeded = near.masked_fill(~self.heeded, torch.finfo(near.dtype).min)

    def padded(self, packed_TD: Tensor) -> Tensor:
        """(B, L, D), zeros behind each pair."""
        return packed_TD.new_zeros((*self.mask.shape, packed_TD.shape[1])).masked_scatter(
            self.mask[..., None], packed_TD
        )

    def packed(self, padded_BLD: Tensor) -> Tensor:
        """(T, D)."""
        return padded_BLD[self.mask]


class Embeddings(nn.Module):
    """Of tokens, places and sides, summed and normalised."""

    def __init__(self, vocabulary: int, places: int, sides: int, width: int, epsilon: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(places, width)
        self.token_type_embeddings = nn.Embedding(sides, width)
        self.LayerNorm = nn.LayerNorm(width, epsilon)

    def forward(self, ids: Tensor, places: Tensor, sides: Tensor) -> Tensor:
        """(T,) to (T, D)."""
        total = self.word_embeddings(ids) + self.position_embeddings(places) + self.token_type_embeddings(sides)
        return self.LayerNorm(total)


class Layer(nn.Module):
    """One transformer layer (post-norm, as BERT's: Devlin et al. 2019)."""

    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self._heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.attended, self.attended_norm = nn.Linear(width, width), nn.LayerNorm(width, epsilon)
        self.inner, self.outer = nn.Linear(width, inner), nn.Linear(inner, width)
        self.outer_norm = nn.LayerNorm(width, epsilon)

    def forward(self, hidden_TD: Tensor, packing: Packing, *, first_only: bool = False) -> Tensor:
        """(T, D) to (T, D); `first_only`: of each pair's first token alone, (B, D)."""
        asking = hidden_TD[packing.first] if first_only else hidden_TD
        query = self.query(asking)[:, None] if first_only else packing.padded(self.query(asking))
        key, value = packing.padded(self.key(hidden_TD)), packing.padded(self.value(hidden_TD))
        mask = packing.heeded[:, :, :1] if first_only else packing.heeded
        with torch.autocast(query.device.type, enabled=False):  # in bfloat16 it is three times slower on a CPU
            asked, known, told = (self._split(part).float() for part in (query, key, value))
            mixed = F.scaled_dot_product_attention(asked, known, told, attn_mask=mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        mixed = mixed[:, 0] if first_only else packing.packed(mixed)
        hidden = self.attended_norm(asking + self.attended(mixed))
        return self.outer_norm(hidden + self.outer(F.gelu(self.inner(hidden))))

    def _split(self, values_BLD: Tensor) -> Tensor:
        """(B, heads, L, D / heads)."""
        return values_BLD.unflatten(2, (self._heads, -1)).transpose(1, 2)


class LowerLayers(nn.Module):
    """Embeddings and the layers that stay as they are."""

    def __init__(self, embeddings: Embeddings, layers: list[Layer], distances: Tensor | None = None) -> None:
        super().__init__()
        self.embeddings, self.layers = embeddings, nn.ModuleList(layers)
        self._distances = distances

    def forward(self, pairs: PairTokens) -> tuple[Tensor, Tensor]:
        """((T, D), lengths int64 (n,))."""
        lengths = torch.from_numpy(np.diff(pairs.starts))
        packing = Packing(lengths, self._distances)
        hidden = self.embeddings(*(torch.from_numpy(part) for part in (pairs.ids, pairs.places, pairs.sides)))
        for layer in self.layers:
            hidden = layer(hidden, packing)
        return hidden, lengths


class UpperLayers(nn.Module):
    """The layers and the head that learn."""

    def __init__(
        self, layers: list[Layer], width: int, distances: Tensor | None = None, *, mean_pooling: bool = False
    ) -> None:
        super().__init__()
        self._distances = distances
        self.layers = nn.ModuleList(layers)
        self._mean_pooling = mean_pooling
        self.head = nn.Linear(width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, hidden_TD: Tensor, lengths: Tensor) -> Tensor:
        """(n,): how well each pair fits."""
        packing = Packing(lengths, self._distances)
        *others, last = self.layers
        for layer in others:
            hidden_TD = layer(hidden_TD, packing)
        pooled_BD = last(hidden_TD, packing, first_only=not self._mean_pooling)
        if self._mean_pooling:
            pooled_BD = packing.padded(pooled_BD).sum(1) / lengths[:, None]
        return self.head(pooled_BD).squeeze(-1)


class CrossEncoder:
    """Both parts and the tokenizer, ready to score."""

    def __init__(self, tokenizer: PairTokenizer, lower: LowerLayers, upper: UpperLayers) -> None:
        self._tokenizer, self._lower, self._upper = tokenizer, lower, upper.eval()

    def scores(self, query: str, titles: Sequence[str]) -> NDArray[np.float32]:
        """float32 (n,): how well each title fits the query."""
        if not titles:
            return np.empty(0, np.float32)
        asked, *named = self._tokenizer.texts([query, *titles])
        with torch.inference_mode():
            return self._upper(*self._lower(self._tokenizer.pairs([asked] * len(named), named))).numpy()


def taught_cross_encoder(
    tokenizer: Any, model: Any, config: CrossEncoderConfig, weights: Mapping[str, NDArray[np.float32]]
) -> CrossEncoder:
    """An encoder's lower layers below upper ones that were taught, `weights` as of their `state_dict`.

    Raises:
        ConfigurationError: the encoder is no BERT or MPNet, or has too few layers.
    """
    lower, upper = split_encoder(model, config)
    upper.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return CrossEncoder(PairTokenizer(tokenizer, config), lower, upper)


BERT = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "attended",
    "attention.output.LayerNorm": "attended_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
}
"""A BERT layer's parts under our names."""
MPNET = {
    "attention.attn.q": "query",
    "attention.attn.k": "key",
    "attention.attn.v": "value",
    "attention.attn.o": "attended",
    "attention.LayerNorm": "attended_norm",
    "intermediate.dense": "inner",
    "output.dense": "outer",
    "output.LayerNorm": "outer_norm",
}
"""An MPNet layer's (Song et al. 2020): BERT's, with a term for the distance between two tokens, and without sides."""
FAMILIES = {"bert": BERT, "mpnet": MPNET}


def split_encoder(model: Any, config: CrossEncoderConfig) -> tuple[LowerLayers, UpperLayers]:
    """Both parts with an encoder's weights.

    Raises:
        ConfigurationError: the encoder is no BERT or MPNet, or has too few layers.
    """
    shape = model.config
    names = FAMILIES.get(shape.model_type)
    if names is None or shape.num_hidden_layers < config.layers or not config.frozen < config.layers:
        raise ConfigurationError(
            f"A cross-encoder starts from an encoder of the BERT or MPNet family with at least {config.layers} layers, "
            f"not {shape.model_type} with {shape.num_hidden_layers}"
        )
    state = model.state_dict()
    if "embeddings.word_embeddings.weight" not in state:
        raise ConfigurationError("A cross-encoder cannot start from a text encoder with an adapter")
    parts = (shape.hidden_size, shape.num_attention_heads, shape.intermediate_size, shape.layer_norm_eps)
    layers = [Layer(*parts) for _ in range(config.layers)]
    for at, layer in enumerate(layers):
        layer.load_state_dict(
            {
                f"{ours}.{kind}": state[f"encoder.layer.{at}.{theirs}.{kind}"]
                for theirs, ours in names.items()
                for kind in ("weight", "bias")
            }
        )
    distances = _distances(model, config.most_tokens) if shape.model_type == "mpnet" else None
    lower = LowerLayers(_embeddings(state, shape), layers[: config.frozen], distances).eval().requires_grad_(False)
    return lower, UpperLayers(layers[config.frozen :], shape.hidden_size, distances, mean_pooling=config.mean_pooling)


def _embeddings(state: Mapping[str, Tensor], shape: Any) -> Embeddings:
    """An encoder's embeddings: MPNet's places begin behind its mark for none, and it knows no sides."""
    prefix = "embeddings."
    named = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix) and not name.endswith(("position_ids", "token_type_ids"))
    }
    if shape.model_type == "mpnet":
        named["position_embeddings.weight"] = named["position_embeddings.weight"][shape.pad_token_id + 1 :]
        named["token_type_embeddings.weight"] = torch.zeros(2, shape.hidden_size)
    places, sides = len(named["position_embeddings.weight"]), len(named["token_type_embeddings.weight"])
    embeddings = Embeddings(shape.vocab_size, places, sides, shape.hidden_size, shape.layer_norm_eps)
    embeddings.load_state_dict(named)
    return embeddings


def _distances(model: Any, tokens: int) -> Tensor:
    """MPNet's term for each head and pair of places, (heads, tokens, tokens)."""
    with torch.no_grad():
        return model.encoder.compute_position_bias(torch.empty(1, tokens, 0))[0].float().clone()
