"""A search ranker's cross-encoder: taught, weighed on other queries, stored, and read again as it was."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bert import tiny_bert

from services.core.errors import ConfigurationError, NotFound
from services.networks.cross_encoder import CrossEncoderConfig, taught_cross_encoder
from services.registry.manifest import DataRange
from services.registry.registry import UNTRAINED, ModelRegistry, Needs
from services.registry.search_artefact import load_search_ranker, read_cross_encoder
from training.search_cross_encoder import CrossEncoderSettings
from training.search_publish import SearchData, digest_of, train_and_publish
from training.search_ranker import GradedLists, SearchRankerSettings
from training.search_reranking import PairTexts, RerankerSettings, best_weight, fit_reranker

WORDS = ["oak", "pine", "elm", "ash", "yew", "fir", "box"]
GOOD = "oak"
CONFIG = CrossEncoderConfig(layers=2, frozen=1)
SETTINGS = RerankerSettings(CONFIG, CrossEncoderSettings(epochs=6, learning_rate=5e-3, head_rate=1e-2))
QUICK = SearchRankerSettings(hidden=(8, 4), members=1, max_epochs=3)
NAMES = ("noise", "more_noise")


class Tokenizer:
    """Words by their place in `WORDS`."""

    cls_token_id, sep_token_id = 1, 2

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[5 + WORDS.index(word) for word in text.split()] for text in texts]}


@dataclass(frozen=True)
class Encoder:
    """What a cross-encoder goes on from."""

    version: str
    tokenizer: Tokenizer
    model: Any


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder("tiny-1", Tokenizer(), tiny_bert())


def shop(lists: int = 240, size: int = 5) -> SearchData:
    """Lists of five titles; those with the good word are what is wanted. The features are noise."""
    rng = np.random.default_rng(4)
    titles = sorted({" ".join(rng.choice(WORDS, 3)) for _ in range(150)})
    title = rng.integers(0, len(titles), lists * size)
    gain = np.array([GOOD in titles[place].split() for place in title.tolist()], np.float64)
    starts = np.arange(lists + 1) * size
    graded = GradedLists(rng.normal(size=(lists * size, 2)).astype(np.float32), gain, starts)
    texts = PairTexts(rng.choice(WORDS, lists).tolist(), titles, title)
    known = DataRange(lists, 0, len(titles), "a", "b", "judgement", digest_of(graded))
    return SearchData("judged", graded, np.arange(lists), NAMES, np.ones(2, np.float32), known, texts)


def test_what_the_cross_encoder_reads_is_weighed_on_other_queries_and_serves_as_it_was_measured(
    encoder: Encoder, tmp_path: Path
):
    registry, data = ModelRegistry(tmp_path, UNTRAINED), shop()
    manifest = train_and_publish(data, registry, settings=QUICK, encoder=encoder, reranker=SETTINGS)
    assert manifest.metrics["ndcg@10"].low > manifest.metrics["ndcg@10-ranker"].high
    loaded = load_search_ranker(registry, manifest.version, Needs(NAMES, ""))
    assert loaded.reranking is not None and loaded.reranking.weight > 0 and loaded.reranking.encoder == "tiny-1"
    about, weights = read_cross_encoder(registry, manifest.version)
    assert about == loaded.reranking
    cross = taught_cross_encoder(encoder.tokenizer, encoder.model, CrossEncoderConfig(**about.network), weights)
    scores = cross.scores("elm", ["oak fir", "pine yew", "box oak ash"])
    assert scores.dtype == np.float32 and min(scores[0], scores[2]) > scores[1]
    assert cross.scores("elm", []).shape == (0,)


def test_scores_are_those_of_the_stored_layers_but_for_half_precision(encoder: Encoder):
    data = shop()
    texts = data.texts
    assert texts is not None
    parts = np.split(np.arange(240), (200, 220))
    ranked = np.zeros(1200, np.float32)
    made = fit_reranker(data.lists, texts, *parts, ranked, encoder, settings=SETTINGS)
    halved = {name: value.astype(np.float16).astype(np.float32) for name, value in made.weights().items()}
    cross = taught_cross_encoder(encoder.tokenizer, encoder.model, CONFIG, halved)
    rows = np.arange(220 * 5, 221 * 5)
    again = cross.scores(texts.queries[220], [texts.titles[place] for place in texts.title[rows].tolist()])
    np.testing.assert_allclose(again, made.scores[rows], atol=0.02)
    assert np.isnan(made.scores[: 200 * 5]).all(), "what taught it has no score"


def test_a_score_that_says_nothing_new_counts_nothing():
    data = shop()
    perfect = data.lists.gain.astype(np.float32)
    noise = np.random.default_rng(0).normal(size=len(perfect)).astype(np.float32)
    assert best_weight(data.lists, np.arange(200), perfect, noise) == 0
    assert best_weight(data.lists, np.arange(200), noise, perfect) > 0


def test_a_version_without_a_cross_encoder_says_so(tmp_path: Path):
    registry = ModelRegistry(tmp_path, UNTRAINED)
    manifest = train_and_publish(shop(), registry, settings=QUICK)
    assert load_search_ranker(registry, manifest.version, Needs(NAMES, "")).reranking is None
    with pytest.raises(NotFound, match="has no cross-encoder"):
        read_cross_encoder(registry, manifest.version)


def test_an_encoder_that_is_no_bert_is_refused(encoder: Encoder):
    class Other:
        config = type("Config", (), {"model_type": "t5", "num_hidden_layers": 6})

    data = shop()
    assert data.texts is not None
    parts = np.split(np.arange(240), (200, 220))
    other = replace(encoder, model=Other())
    with pytest.raises(ConfigurationError, match="BERT"):
        fit_reranker(data.lists, data.texts, *parts, np.zeros(1200, np.float32), other, settings=SETTINGS)
