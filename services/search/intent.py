"""Which of the shop's brands and categories a query names, by the shop's own names and item counts."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.features.snapshot import ItemSnapshot
from services.search.text.analyser import Analyser

LONGEST = 5
MOST = 5
Named = tuple[tuple[int, float], ...]


class Intent:
    """Names of one snapshot's brands and categories, analysed."""

    def __init__(self, snapshot: ItemSnapshot, analyser: Analyser) -> None:
        self._brands = _by_terms(snapshot.brand_names, analyser)
        self._categories = _by_terms(snapshot.category_names, analyser)
        known = snapshot.brand[snapshot.brand >= 0]
        self._brand_items = np.bincount(known, minlength=len(snapshot.brand_names))
        self._category_items = np.bincount(snapshot.category_codes, minlength=len(snapshot.category_names))

    def brands(self, terms: Sequence[str], frequencies: Sequence[int]) -> Named:
        """(code, how surely) of the brands whose whole name stands in the query, surest first.

        `frequencies`: items with each term. A name is as sure as the items that have its rarest word are of the brand.
        """
        return _named(self._brands, self._brand_items, terms, frequencies)

    def categories(self, terms: Sequence[str], frequencies: Sequence[int]) -> Named:
        """As `brands`, of categories."""
        return _named(self._categories, self._category_items, terms, frequencies)


def _by_terms(names: Iterable[str], analyser: Analyser) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = {}
    for code, name in enumerate(names):
        terms = tuple(token.terms[0] for token in analyser.tokens(name) if not analyser.is_stop(token.terms[0]))
        if 0 < len(terms) <= LONGEST:
            found.setdefault(terms, []).append(code)
    return found


def _named(
    known: dict[tuple[str, ...], list[int]],
    items: NDArray[np.integer],
    terms: Sequence[str],
    frequencies: Sequence[int],
) -> Named:
    found: dict[int, float] = {}
    for length in range(min(LONGEST, len(terms)), 0, -1):
        for first in range(len(terms) - length + 1):
            for code in known.get(tuple(terms[first : first + length]), ()):
                holding = max(min(frequencies[first : first + length]), 1)
                found[code] = max(found.get(code, 0.0), min(float(items[code]) / holding, 1.0))
    return tuple(sorted(found.items(), key=lambda named: (-named[1], named[0]))[:MOST])
