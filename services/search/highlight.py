"""Titles as HTML with the words found marked: everything is escaped, then `<em>` is put around what matched."""

import html
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from services.search.text.analyser import Analyser
from services.search.text.normal import normalise_with_offsets
from services.search.understanding import QueryWord

REMEMBERED_TITLES = 8_192
LONGEST = 240
"""Characters of a title that are shown."""


def wanted_terms(words: Iterable[QueryWord]) -> frozenset[str]:
    """The terms that are marked: those of all words but the stop words."""
    return frozenset(
        term for word in words if not word.optional for said in word.alternatives for term in (said.term, *said.beside)
    )


class Highlighter:
    """Marks words in titles. It remembers where the words of the latest titles stand, nothing else."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self._spans = lru_cache(maxsize=REMEMBERED_TITLES)(self._find)

    def highlighted(self, titles: Sequence[str], terms: frozenset[str]) -> list[str]:
        """Each title as HTML, the words with any of the terms marked."""
        return [self._highlighted(title, terms) for title in titles]

    def _highlighted(self, title: str, terms: frozenset[str]) -> str:
        text, spans, safe = self._spans(title)
        escape = str if safe else html.escape
        parts: list[str] = []
        end = 0
        for start, stop, found in spans:
            if start >= end and not terms.isdisjoint(found):
                parts += [escape(text[end:start]), "<em>", escape(text[start:stop]), "</em>"]
                end = stop
        return "".join([*parts, escape(text[end:])])

    def _find(self, title: str) -> tuple[str, list[tuple[int, int, tuple[str, ...]]], bool]:
        """The title as it is shown, start, end and terms of its tokens, and whether nothing in it needs escaping."""
        text = unicodedata.normalize("NFC", title)
        if len(text) > LONGEST:
            text = text[: LONGEST - 1] + "…"
        normal, offsets = normalise_with_offsets(text)
        tokens = self._analyser.tokens_of_normalised(normal)
        spans = [(offsets[token.start], offsets[token.end], token.terms) for token in tokens]
        return text, spans, html.escape(text) == text
