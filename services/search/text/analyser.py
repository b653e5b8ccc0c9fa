"""From a text to its tokens: words stemmed, numbers and units in one spelling, model numbers whole, Chinese cut up."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from services.search.text import chinese
from services.search.text.languages import Languages
from services.search.text.normal import normalise
from services.search.text.units import Measure, measures, number_text

MAX_TERM = 64
"""Longer runs of letters or digits are cut: they are no words."""


class Kind(StrEnum):
    """What a token is."""

    WORD = "word"
    NUMBER = "number"
    MEASURE = "measure"
    SIZE = "size"
    MODEL = "model"
    CJK = "cjk"


class Token(NamedTuple):
    """`text`: the normalised surface; `terms`: what an item is found by, the most exact first.

    A word has its stem. A measure ("18v"): "18volt", "18", "volt". A size ("4 ft. x 6 ft."): "4x6", then each pair of
    neighbours, then its measures' terms. A model number ("dcd-771c2"): the whole without punctuation, then its parts.
    `start`, `end`: where it stands in the normalised text.
    """

    text: str
    kind: Kind
    terms: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True)
class AnalyserConfig:
    """`language`: a Snowball stemmer's name, or "none"."""

    language: str = "english"


_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ebef\u3005"
_UNSPACED = "\u3041-\u30ff\u31f0-\u31ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Kana, Thai, Lao, Burmese, Khmer: written without spaces."""
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963"
_LETTER = rf"(?:[^\W\d_{_HAN}{_UNSPACED}]|[{_MARKS}\u0980-\u0dff])"
_LEXER = re.compile(
    r"(?P<word>[a-z]+)(?![^\s,;:!?()\[\]&\"])"
    r"|(?P<number>\.?\d)"
    r"|(?P<model>(?=[a-z./_-]{0,64}\d)[a-z][a-z\d]*(?:[-/._][a-z\d]+)*)"
    rf"|(?P<han>[{_HAN}]+)"
    rf"|(?P<unspaced>[{_UNSPACED}]+)"
    rf"|(?P<letters>{_LETTER}+(?:'{_LETTER}+)*)"
)
_MODEL = re.compile(r"(?=[\d./_-]{0,64}[a-z])[a-z\d]+(?:[-/._][a-z\d]+)*")
_RUNS = re.compile(r"\d+|[a-z]+")
_CHUNKS = re.compile(r"[a-z\d]+")


class Analyser:
    """Analyses texts of one shop. Thread-safe; it keeps nothing but a cache of stems."""

    def __init__(self, config: AnalyserConfig | None = None) -> None:
        self.config = AnalyserConfig() if config is None else config
        self._languages = Languages(self.config.language)
        self._make = {
            "word": self._word,
            "letters": self._word,
            "model": self._model,
            "han": self._han,
            "unspaced": self._unspaced,
        }

    def tokens(self, text: str) -> list[Token]:
        """The tokens of a text in order. Never fails: what is no word, number or sign of writing is skipped."""
        return self.tokens_of_normalised(normalise(text))

    def tokens_of_normalised(self, text: str) -> list[Token]:
        """The tokens of a text that `normalise` has been over."""
        found: list[Token] = []
        search, match = _LEXER.search, _LEXER.search(text)
        while match is not None:
            kind, start, end = match.lastgroup, match.start(), match.end()
            if kind == "number":
                end = self._add_quantity(text, start, found)
            elif kind == "word":
                word = match[0][:MAX_TERM]
                found.append(Token(word, Kind.WORD, (self._languages.stem(word),), start, end))
            elif kind is not None:
                found += self._make[kind](match[0], start)
            match = search(text, end)
        return found

    def terms(self, text: str) -> list[str]:
        """All terms of a text, as an item is indexed by them."""
        return [term for token in self.tokens(text) for term in token.terms]

    def terms_of_many(self, texts: Iterable[str]) -> list[list[str]]:
        """`terms` of each text."""
        return [self.terms(text) for text in texts]

    def is_stop(self, term: str) -> bool:
        """Whether a term is too common to demand of an item."""
        return self._languages.is_stop(term)

    def stem(self, word: str) -> str:
        """The term of a normalised word."""
        return self._languages.stem(word)

    def _word(self, text: str, start: int) -> list[Token]:
        plain = text.removesuffix("'s").replace("'", "") if "'" in text else text
        return [Token(plain[:MAX_TERM], Kind.WORD, (self._languages.stem(plain[:MAX_TERM]),), start, start + len(text))]

    def _add_quantity(self, text: str, start: int, found: list[Token]) -> int:
        """Adds what begins with a digit: a size, a measure, a number or a model number. Returns where it ends."""
        parts = measures(text, start)
        end = parts[-1].end
        if text[end : end + 1].isalnum() or (parts[-1].unit is None and text[end : end + 1] in ("-", "/", "_", ".")):
            model = _MODEL.match(text, start)
            if model is not None and model.end() > end:
                found += self._model(model[0], start)
                return model.end()
        written = text[start:end]
        if len(parts) > 1:
            found.append(Token(written, Kind.SIZE, _size_terms(parts), start, end))
        elif parts[0].unit is not None:
            found.append(Token(written, Kind.MEASURE, _measure_terms(parts[0]), start, end))
        else:
            found.append(Token(written, Kind.NUMBER, (parts[0].value[:MAX_TERM],), start, end))
        return end

    def _model(self, text: str, start: int) -> list[Token]:
        chunks = _CHUNKS.findall(text)
        runs = [run for chunk in chunks for run in _RUNS.findall(chunk)]
        if len(chunks) > 1 and not _joined(chunks):
            return self._apart(text, start)
        whole = "".join(chunks)[:MAX_TERM]
        parts = dict.fromkeys([whole, *chunks, *(run for run in runs if len(run) > 1 or run.isdigit())])
        return [Token(text, Kind.MODEL, tuple(part[:MAX_TERM] for part in parts), start, start + len(text))]

    def _apart(self, text: str, start: int) -> list[Token]:
        """ "2-light" and "a/c-12": words and numbers that punctuation only holds together."""
        found: list[Token] = []
        for chunk in _CHUNKS.finditer(text):
            if chunk[0].isdigit():
                value = number_text(chunk[0]) or chunk[0]
                found.append(
                    Token(chunk[0], Kind.NUMBER, (value[:MAX_TERM],), start + chunk.start(), start + chunk.end())
                )
            else:
                make = self._word if chunk[0].isalpha() else self._model
                found += make(chunk[0], start + chunk.start())
        return found

    def _han(self, text: str, start: int) -> list[Token]:
        return [Token(text[a:b], Kind.CJK, (text[a:b],), start + a, start + b) for a, b in chinese.words(text)]

    def _unspaced(self, text: str, start: int) -> list[Token]:
        """Pairs of neighbouring characters: what scripts without spaces are searched by without a dictionary."""
        if len(text) == 1:
            return [Token(text, Kind.CJK, (text,), start, start + 1)]
        return [
            Token(text[i : i + 2], Kind.CJK, (text[i : i + 2],), start + i, start + i + 2) for i in range(len(text) - 1)
        ]


def _measure_terms(measure: Measure) -> tuple[str, ...]:
    if measure.unit is None:
        return (measure.value,)
    return measure.value + measure.unit, measure.value, measure.unit


def _size_terms(parts: list[Measure]) -> tuple[str, ...]:
    values = [part.value for part in parts]
    pairs = ["x".join(pair) for pair in pairwise(values)]
    return tuple(dict.fromkeys(["x".join(values), *pairs, *(term for part in parts for term in _measure_terms(part))]))


def _joined(chunks: list[str]) -> bool:
    """Whether punctuation stands inside one model number: "sc-141" and "ge-pse25", not "2-light"."""
    mixed = any(not chunk.isalpha() and not chunk.isdigit() for chunk in chunks)
    return mixed or all(len(chunk) <= 2 for chunk in chunks if chunk.isalpha())
