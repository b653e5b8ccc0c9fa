"""The packaged MiniLM: right dimension, meaning, and agreement of bf16 with float32."""

from dataclasses import replace

import numpy as np
import pytest

from services.encoders.text import TextEncoder, load_text_encoder


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    return load_text_encoder()


def test_meaning_is_nearer_than_words(minilm: TextEncoder) -> None:
    lipstick, lip_colour, guitar = minilm.encode(["red lipstick", "crimson lip colour", "red electric guitar"])
    assert minilm.dimension == 384
    assert lipstick @ lip_colour > lipstick @ guitar + 0.1


def test_autocast_agrees_with_float32(minilm: TextEncoder) -> None:
    texts = ["vitamin c serum 30 ml", "nail polish remover", "x", "organic argan oil for dry hair " * 6]
    fast = minilm.encode(texts)
    policy = minilm.policy
    minilm.policy = replace(policy, dtype=None)
    try:
        exact = minilm.encode(texts)
    finally:
        minilm.policy = policy
    np.testing.assert_allclose((fast * exact).sum(1), 1, atol=1e-3)
