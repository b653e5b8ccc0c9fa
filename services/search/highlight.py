"""Titles as HTML with the words found marked: everything is escaped, then `<em>` is put around what matched."""

import html
import unicodedata
from collections.abc import Iterable, Sequence

from services.search.text.analyser import Analyser
from services.search.text.normal import normalise_with_offsets
from services.search.understanding import QueryWord

LONGEST = 240
"""Characters of a title that are shown."""


def wanted_terms(words: Iterable[QueryWord]) -> frozenset[str]:
    """The terms that are marked: those of all words but the stop words."""
    return frozenset(
        term for word in words if not word.optional for said in word.alternatives for term in (said.term, *said.beside)
    )


def highlighted(titles: Sequence[str], terms: frozenset[str], analyser: Analyser) -> list[str]:
    """Each title as HTML."""
    return [_highlighted(title, terms, analyser) for title in titles]


def _highlighted(title: str, terms: frozenset[str], analyser: Analyser) -> str:
    text = unicodedata.normalize("NFC", title)
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    normal, offsets = normalise_with_offsets(text)
    parts: list[str] = []
    end = 0
    for token in analyser.tokens_of_normalised(normal):
        start, stop = offsets[token.start], offsets[token.end]
        if start >= end and not terms.isdisjoint(token.terms):
            parts += [html.escape(text[end:start]), "<em>", html.escape(text[start:stop]), "</em>"]
            end = stop
    return "".join([*parts, html.escape(text[end:])])
