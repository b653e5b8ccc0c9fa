"""Teaches the cross-encoder that a version of the search ranker may have, and finds what its score counts beside the
ranker's own, on queries that taught neither."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.networks.cross_encoder import (
    CrossEncoderConfig,
    PairTokenizer,
    PairTokens,
    UpperLayers,
    network_of,
    split_encoder,
)
from services.registry.search_artefact import Reranking
from training.search_cross_encoder import (
    CrossEncoderSettings,
    JudgedPairs,
    cross_scores,
    pair_states,
    teach_cross_encoder,
)
from training.search_metrics import ndcg
from training.search_ranker import GradedLists

FloatArray = NDArray[np.float32]
WEIGHTS = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the cross-encoder's score beside the ranker's, both brought to the same deviation within lists, that are tried."""


@dataclass(frozen=True)
class PairTexts:
    """What a cross-encoder reads: `queries` (lists,) as they are searched for; `titles`, and `title` int64 (rows,):
    which of them a row has."""

    queries: list[str]
    titles: list[str]
    title: NDArray[np.int64]


@dataclass(frozen=True)
class RerankerSettings:
    """`network`: None is `network_of` the encoder. `most_pairs`: lists teach until they have so many rows, in a random
    order."""

    network: CrossEncoderConfig | None = None
    teaching: CrossEncoderSettings = field(default_factory=CrossEncoderSettings)
    most_pairs: int = 30_000


class LayeredEncoder(Protocol):
    """The text encoder that a cross-encoder goes on from (`services.encoders.text.TextEncoder`)."""

    tokenizer: Any
    model: Any

    @property
    def version(self) -> str: ...


@dataclass(frozen=True)
class Reranker:
    """`upper`: the layers that were taught. `scores` float32 (rows,) of the lists that were kept apart, NaN elsewhere;
    `weight` is what they count beside the ranker's, 0 where they do not help."""

    about: Reranking
    upper: UpperLayers
    scores: FloatArray

    @property
    def weight(self) -> float:
        return self.about.weight

    def weights(self) -> dict[str, NDArray]:
        """Of the layers that were taught, by name."""
        return {name: value.numpy() for name, value in self.upper.state_dict().items()}


def fit_reranker(
    lists: GradedLists,
    texts: PairTexts,
    taught: NDArray[np.int64],
    choosing: NDArray[np.int64],
    measured: NDArray[np.int64],
    ranked: FloatArray,
    encoder: LayeredEncoder,
    *,
    settings: RerankerSettings | None = None,
    seed: int = 0,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Reranker:
    """A cross-encoder taught on the lists `taught`. Its weight is chosen on `choosing`; `measured` are scored alone.

    `ranked` float32 (rows,): the ranker's own scores. `encoder`: what the cross-encoder goes on from.
    """
    settings = RerankerSettings() if settings is None else settings
    some = _drawn(lists, taught, settings.most_pairs, seed)
    used = np.concatenate((some, choosing, measured))
    rows = np.concatenate([np.arange(lists.starts[one], lists.starts[one + 1]) for one in used.tolist()])
    part = lists.take(used)
    network = settings.network or network_of(encoder.model)
    lower, upper = split_encoder(encoder.model, network)
    pairs = _tokens(lists, texts, rows, PairTokenizer(encoder.tokenizer, network))
    grades = JudgedPairs(np.arange(len(rows)), part.gain, part.gain, part.starts)
    own = part.starts[len(some)]
    scores = np.full(len(lists.gain), np.nan, np.float32)
    with tempfile.TemporaryDirectory(prefix="portrait-cross-") as folder:
        states = pair_states(lower, pairs, Path(folder) / "states.npy")
        found = teach_cross_encoder(upper, states, grades.take(np.arange(len(some))), settings.teaching, seed, tell)
        scores[rows[own:]] = cross_scores(found.upper, states, np.arange(own, len(rows)))
    weight = best_weight(lists, choosing, ranked, scores)
    about = Reranking(encoder.version, weight, msgspec.to_builtins(network))
    return Reranker(about, found.upper, scores)


def best_weight(lists: GradedLists, chosen: NDArray[np.int64], ranked: FloatArray, cross: FloatArray) -> float:
    """The weight of the cross-encoder's score with the greatest mean NDCG@10 of some lists, the smallest of equals."""
    part = replace(lists, features=np.column_stack((ranked, cross))).take(chosen)
    ours, theirs = part.features.T
    scale = _deviation(ours, part.starts) / max(_deviation(theirs, part.starts), 1e-6)
    values = [float(np.nanmean(ndcg(ours + weight * scale * theirs, part.gain, part.starts))) for weight in WEIGHTS]
    return round(WEIGHTS[int(np.argmax(values))] * scale, 6)


def _deviation(values: FloatArray, starts: NDArray[np.int64]) -> float:
    """The standard deviation around the mean of each list."""
    counts = np.diff(starts)
    means = np.add.reduceat(values, starts[:-1][counts > 0]) / counts[counts > 0]
    return float(np.sqrt(np.mean((values - np.repeat(means, counts[counts > 0])) ** 2)))


def _drawn(lists: GradedLists, taught: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Some of the lists at random, `most` rows in all."""
    order = np.random.default_rng(seed + 23).permutation(taught)
    return order[np.cumsum(np.diff(lists.starts)[order]) <= most]


def _tokens(lists: GradedLists, texts: PairTexts, rows: NDArray[np.int64], made: PairTokenizer) -> PairTokens:
    owner = np.repeat(np.arange(len(lists)), np.diff(lists.starts))[rows]
    needed = np.zeros(len(texts.titles), bool)
    needed[texts.title[rows]] = True
    place = np.cumsum(needed) - 1
    titles = made.texts(list(compress(texts.titles, needed.tolist())))
    queries = made.texts(texts.queries)
    return made.pairs(
        [queries[query] for query in owner.tolist()], [titles[title] for title in place[texts.title[rows]].tolist()]
    )
