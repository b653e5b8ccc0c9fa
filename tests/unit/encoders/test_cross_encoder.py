"""The cross-encoder's layers say what the encoder's own do, in whatever batch a pair is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from services.core.errors import ConfigurationError
from services.networks.cross_encoder import CrossEncoderConfig, PairTokenizer, PairTokens, split_encoder

CONFIG = CrossEncoderConfig(layers=2, frozen=1, query_tokens=4, most_tokens=12)
QUERIES, TITLES = ["a", "b c a b c a", "a b"], ["b c", "a passage b", "c " * 30]


@pytest.fixture(scope="module")
def model(tiny_bert: Path):
    return AutoModel.from_pretrained(tiny_bert).eval()


@pytest.fixture(scope="module")
def tokenizer(tiny_bert: Path):
    return AutoTokenizer.from_pretrained(tiny_bert)


def pairs_of(tokenizer, queries: list[str], titles: list[str]):
    made = PairTokenizer(tokenizer, CONFIG)
    return made.pairs(made.texts(queries), made.texts(titles))


def test_a_pair_is_the_query_and_the_title_within_their_bounds(tokenizer):
    pairs = pairs_of(tokenizer, QUERIES, TITLES)
    assert np.diff(pairs.starts).tolist() == [6, 10, 12]
    second = slice(pairs.starts[1], pairs.starts[2])
    assert tokenizer.convert_ids_to_tokens(pairs.ids[second].tolist()) == [
        *("[CLS]", "b", "c", "a", "b", "[SEP]"),
        *("a", "passage", "b", "[SEP]"),
    ]
    assert pairs.sides[second].tolist() == [0] * 6 + [1] * 4
    assert pairs.places[second].tolist() == list(range(10))


def scores_are_of(pairs: PairTokens, config: CrossEncoderConfig, model, states: Callable[[slice], Tensor]) -> None:
    """Of all pairs together, each is that of the states (length, D) which the whole encoder gives the pair alone."""
    lower, upper = split_encoder(model, config)
    torch.nn.init.normal_(upper.head.weight)
    upper.eval()
    with torch.inference_mode():
        ours = upper(*lower(pairs)).numpy()
        for row in range(len(pairs)):
            hidden = states(slice(pairs.starts[row], pairs.starts[row + 1]))
            pooled = hidden.mean(0) if config.mean_pooling else hidden[0]
            assert ours[row] == pytest.approx(float(upper.head(pooled)), abs=1e-5)


def test_scores_are_those_of_the_whole_encoder(model, tokenizer):
    pairs = pairs_of(tokenizer, QUERIES, TITLES)

    def states(at: slice) -> Tensor:
        ids, sides = (torch.from_numpy(part[at])[None] for part in (pairs.ids, pairs.sides))
        return model(input_ids=ids, token_type_ids=sides).last_hidden_state[0]

    scores_are_of(pairs, CONFIG, model, states)


@pytest.mark.parametrize("mean_pooling", [False, True])
def test_mpnet_heeds_distances_and_knows_no_sides(tiny_mpnet: Path, tokenizer, *, mean_pooling: bool):
    model = AutoModel.from_pretrained(tiny_mpnet).eval()
    pairs = pairs_of(tokenizer, QUERIES, TITLES)

    def states(at: slice) -> Tensor:
        ids, places = (torch.from_numpy(part[at])[None] for part in (pairs.ids, pairs.places))
        return model(input_ids=ids, position_ids=places + model.config.pad_token_id + 1).last_hidden_state[0]

    scores_are_of(pairs, replace(CONFIG, mean_pooling=mean_pooling), model, states)


def test_lower_layers_do_not_learn(model, tokenizer):
    lower, upper = split_encoder(model, CONFIG)
    assert not any(weight.requires_grad for weight in lower.parameters())
    upper(*lower(pairs_of(tokenizer, QUERIES, TITLES))).sum().backward()
    assert upper.head.weight.grad is not None


def test_an_encoder_of_another_kind_is_refused(model):
    with pytest.raises(ConfigurationError, match="at least 9 layers"):
        split_encoder(model, CrossEncoderConfig(layers=9))
