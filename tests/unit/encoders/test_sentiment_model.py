"""Sentiment: the sign of plain reviews in both languages, range, and independence of neighbours."""

import numpy as np
import pytest

from services.encoders.sentiment import SentimentModel, load_sentiment

GOOD = [
    "I love this, it works great!",
    "Excellent quality, highly recommended.",
    "Soft, gentle, smells wonderful. Best shampoo ever.",
    "非常好，很喜欢，推荐购买",
    "物流很快，质量不错，很满意",
]
BAD = [
    "Terrible. Broke after two days, a waste of money.",
    "Not good at all, I returned it.",
    "Awful smell and it gave me a rash. Very disappointed.",
    "太差了，非常失望，不会再买",
    "质量很差，用了一次就坏了",
]


@pytest.fixture(scope="module")
def model() -> SentimentModel:
    return load_sentiment()


def test_plain_reviews_have_the_right_sign(model: SentimentModel) -> None:
    assert (model.score(GOOD) > 0.2).all()
    assert (model.score(BAD) < -0.2).all()


@pytest.mark.parametrize("text", ["", "   ", "...", "12345 67890", "ひどい製品です", "끔찍한 제품", "zzqx vvkw"])
def test_what_says_nothing_scores_zero(model: SentimentModel, text: str) -> None:
    assert model.score([text]).tolist() == [0.0]


def test_a_score_does_not_depend_on_the_other_texts(model: SentimentModel) -> None:
    texts = [*GOOD, "", *BAD, "line\nbreak good", GOOD[0]]
    alone = np.concatenate([model.score([text]) for text in texts])
    together = model.score(texts)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together[0] == together[-1]
    assert together.dtype == np.float32


def test_strange_and_long_texts_stay_in_range(model: SentimentModel) -> None:
    scores = model.score(["great " * 50_000, "\ud800 awful", "\x00\n\r", "好" * 30_000, "İ" * 10, "😀😀"])
    assert np.isfinite(scores).all()
    assert (np.abs(scores) <= 1).all()
    assert scores[0] > 0.2


def test_the_verdict_at_the_end_of_a_long_review_counts(model: SentimentModel) -> None:
    filler = "I used it in the kitchen on monday. " * 200
    assert model.score([filler + "Great, I love it."])[0] > model.score([filler + "Terrible, I hate it."])[0]


def test_no_texts_give_no_scores(model: SentimentModel) -> None:
    assert model.score([]).shape == (0,)


def test_the_version_is_stable(model: SentimentModel) -> None:
    assert load_sentiment().version == model.version
