"""Sentiment of review texts, English and Chinese, without a network: ridge regression on hashed n-grams.

English marks negated words and adds the VADER score (Hutto & Gilbert 2014) as one feature. `fit_sentiment` made the
weights; `docs/encoders.md` has the measured accuracy.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.encoders.linear_text import LinearTextModel
from services.encoders.negation import mark_negations
from services.encoders.pretrained import EncoderUnavailable

WEIGHTS = Path(__file__).parent / "weights"
ENGLISH_WEIGHTS = "sentiment_en.npz"
CHINESE_WEIGHTS = "sentiment_zh.npz"

BLOCK = 2_048
"""Texts scored together: bounds the memory of a bulk call to a few hundred megabytes at the longest texts."""

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
KANA_OR_HANGUL = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")


@dataclass(frozen=True)
class SentimentConfig:
    """A text is cut to its first `head` and last `tail` characters: reviews open and close with their verdict.

    A prediction p becomes tanh(p / scale): English predictions are on VADER's −4…4, Chinese ones on −1…1, and a clear
    review of either comes out near 0.7. `han_share` is the share of Han characters from which a text counts as Chinese.
    """

    head: int = 1_500
    tail: int = 500
    english_scale: float = 1.5
    chinese_scale: float = 0.65
    han_share: float = 0.2


class SentimentModel:
    """Scores texts from −1 (bad) to 1 (good); 0 says nothing is known: empty, no words, another script."""

    def __init__(
        self, english: LinearTextModel, chinese: LinearTextModel, version: str, config: SentimentConfig | None = None
    ) -> None:
        self.version = version
        self.config = config or SentimentConfig()
        self._english = english
        self._chinese = chinese
        self._vader = _vader_analyzer()

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (n,) in [−1, 1]. Equal texts are scored once; a score does not depend on the other texts."""
        positions: dict[str, int] = {}
        inverse = np.fromiter((positions.setdefault(text, len(positions)) for text in texts), np.int64, len(texts))
        unique = [self._shorten(text) for text in positions]
        parts = [self._score_block(unique[i : i + BLOCK]) for i in range(0, len(unique), BLOCK)]
        return np.concatenate(parts)[inverse] if parts else np.zeros(0, dtype=np.float32)

    def _score_block(self, texts: list[str]) -> np.ndarray:
        scores = np.zeros(len(texts), dtype=np.float32)
        chinese, english = self._split_by_script(texts)
        if len(chinese):
            predicted, known = self._chinese.predict([texts[i] for i in chinese])
            scores[chinese] = np.where(known, np.tanh(predicted / self.config.chinese_scale), 0.0)
        if len(english):
            chosen = [texts[i] for i in english]
            vader = vader_scores(chosen, self._vader)
            predicted, known = self._english.predict([mark_negations(text) for text in chosen], vader[:, None])
            scores[english] = np.where(known | (vader != 0), np.tanh(predicted / self.config.english_scale), 0.0)
        return scores

    def _shorten(self, text: str) -> str:
        head, tail = self.config.head, self.config.tail
        return text if len(text) <= head + tail else f"{text[:head]} {text[-tail:]}"

    def _split_by_script(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the Chinese texts and of those in an alphabet; kana and Hangul belong to neither."""
        han = np.fromiter((0 if text.isascii() else len(HAN.findall(text)) for text in texts), np.int64, len(texts))
        other = np.fromiter((not text.isascii() and bool(KANA_OR_HANGUL.search(text)) for text in texts), bool)
        length = np.fromiter((len(text) for text in texts), np.int64, len(texts))
        chinese = han > self.config.han_share * length
        return np.flatnonzero(chinese & ~other), np.flatnonzero(~chinese & ~other)


def load_sentiment(folder: Path = WEIGHTS) -> SentimentModel:
    """The sentiment model with the weights in `folder`.

    Raises:
        CorruptArtefact: a weights file is missing or damaged.
        EncoderUnavailable: vaderSentiment is not installed.
    """
    english, chinese = LinearTextModel.load(folder / ENGLISH_WEIGHTS), LinearTextModel.load(folder / CHINESE_WEIGHTS)
    digest = hashlib.blake2b(digest_size=6)
    for name in (ENGLISH_WEIGHTS, CHINESE_WEIGHTS):
        digest.update((folder / name).read_bytes())
    digest.update(repr(SentimentConfig()).encode())
    return SentimentModel(english, chinese, f"ngrams-vader-{digest.hexdigest()}")


def vader_scores(texts: Iterable[str], analyzer: Any = None) -> np.ndarray:
    """VADER's compound score (n,) in [−1, 1]."""
    analyzer = analyzer or _vader_analyzer()
    return np.array([analyzer.polarity_scores(text)["compound"] for text in texts], dtype=np.float32)


def _vader_analyzer() -> Any:
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer  # noqa: PLC0415 absent on GPU machines
    except ImportError as error:
        raise EncoderUnavailable("Sentiment needs VADER: run `pip install vaderSentiment`") from error
    return SentimentIntensityAnalyzer()
