"""Hashed n-grams and ridge regression agree with their plain definitions."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import CorruptArtefact
from services.encoders.linear_text import LinearTextModel, fit_linear_text
from services.encoders.ngrams import NgramConfig, count_ngrams

WORDS = NgramConfig("word", longest=2, bits=40)


def distinct(texts: list[str], config: NgramConfig) -> list[list[float]]:
    counts = count_ngrams(texts, config)
    return [sorted(counts.count[counts.row == row].tolist()) for row in range(len(texts))]


def test_words_and_pairs_are_counted_per_text() -> None:
    # good ×2, not, "good not", "not good" — and nothing across the two texts
    assert distinct(["Good, not GOOD", "good"], WORDS) == [[1, 1, 1, 2], [1]]
    assert count_ngrams(["x"], WORDS).bucket != count_ngrams(["y"], WORDS).bucket


def test_characters_skip_punctuation() -> None:
    assert distinct(["好，好", "差"], NgramConfig("character", longest=2, bits=40)) == [[1, 2], [1]]


@given(st.lists(st.lists(st.sampled_from(["ab", "ba", "a", "中", "don't"]), max_size=6), max_size=6))
def test_counts_are_those_of_a_counter(rows: list[list[str]]) -> None:
    expected = [sorted(float(n) for n in Counter([*words, *pairwise(words)]).values()) for words in rows]
    assert distinct([" ".join(words) for words in rows], WORDS) == expected


def test_the_same_words_hash_alike_wherever_they_stand() -> None:
    first, second = count_ngrams(["red shoe"], WORDS), count_ngrams(["x " * 5_000, "red shoe"], WORDS)
    assert first.bucket.tolist() == second.bucket[second.row == 1].tolist()


def test_ridge_agrees_with_the_closed_form() -> None:
    texts = ["good", "bad", "good thing", "bad thing", "thing", "good bad"]
    targets = np.array([1.0, -1.0, 0.9, -0.8, 0.1, 0.0])
    extra = np.array([[0.5], [-0.5], [0.4], [-0.2], [0.0], [0.3]])
    config = NgramConfig("word", longest=1, bits=40)
    model = fit_linear_text(texts, targets, config, extra=extra, penalty=0.7, least_texts=1)
    row, column, value = model._features(count_ngrams(texts, config))
    matrix = np.zeros((6, 3))
    matrix[row, column] = value
    matrix = np.hstack([matrix, extra])
    centred = matrix - matrix.mean(0)
    weights = np.linalg.solve(centred.T @ centred + 0.7 * np.eye(4), centred.T @ (targets - targets.mean()))
    np.testing.assert_allclose(np.r_[model.weight, model.dense], weights, atol=1e-4)
    predicted, known = model.predict(texts, extra)
    np.testing.assert_allclose(predicted, targets.mean() + centred @ weights, atol=1e-4)
    assert known.all()


def test_a_saved_model_predicts_the_same(tmp_path: Path) -> None:
    model = fit_linear_text(["good", "bad", "so so"] * 3, np.array([1.0, -1.0, 0.0] * 3), NgramConfig())
    model.save(tmp_path / "model.npz")
    loaded = LinearTextModel.load(tmp_path / "model.npz")
    texts = ["good", "bad", "unheard of", ""]
    np.testing.assert_allclose(loaded.predict(texts)[0], model.predict(texts)[0], atol=1e-2)
    assert loaded.predict(texts)[1].tolist() == [True, True, False, False]


@pytest.mark.parametrize("content", [None, b"not an archive"])
def test_damaged_weights_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(CorruptArtefact, match=r"model\.npz"):
        LinearTextModel.load(tmp_path / "model.npz")
