"""Search's settings: frozen values with defaults that suit any shop."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from services.core.errors import ConfigurationError
from services.core.settings import Settings

FIELDS: tuple[str, ...] = ("title", "brand", "categories", "attributes", "description")
"""The fields that are searched, in the order of every array that has one column a field."""


def _boosts() -> Mapping[str, float]:
    return MappingProxyType({"title": 1.0, "brand": 0.6, "categories": 0.5, "attributes": 0.4, "description": 0.25})


@dataclass(frozen=True)
class SearchConfig:
    """How results are found and put together."""

    boosts: Mapping[str, float] = field(default_factory=_boosts)
    """What a word counts in each field."""
    k1: float = 1.2
    b: float = 0.75
    """BM25's saturation of repeated words and normalisation by length (Robertson and Zaragoza, 2009)."""

    lexical_candidates: int = 200
    dense_candidates: int = 200
    taken_candidates: int = 20
    """Items that people who asked the same took, among the candidates in any case."""
    max_candidates: int = 300
    """How many each side brings to ranking, and how many are ranked."""
    narrow: int = 4_000
    """A filter that leaves at most so many items is searched exactly, without the nearest-neighbour index."""

    relaxed_share: float = 0.6
    """Where no item has all the words: those match that have this share of them, weighed by rarity."""
    dense_floor: float = 0.5
    """An item found by meaning alone needs this share of the best cosine to be ranked."""
    result_share: float = 0.4
    """A candidate is a result by its words with this share of what all demanded words tell."""
    meaning_floor: float = 0.45
    """Or with this cosine (docs/search.md); a matter of the encoder: `PORTRAIT_SEARCH_MEANING_FLOOR`."""
    max_words: int = 32
    """Words of a query that are searched for, the first ones."""
    synonym_weight: float = 0.8
    part_weight: float = 0.4
    """What the number of a measure, or a side of a size, counts against the whole."""

    kept_query_bytes: int = 96 << 20
    """Room for what the latest queries found, a process; 0: nothing is kept."""

    facet_terms: int = 30
    """Categories and brands listed, the most frequent ones."""


def search_config(settings: Settings) -> SearchConfig:
    """The configuration with the boosts of the settings.

    Raises:
        ConfigurationError: a boost of a field that is not searched, or a negative one.
    """
    given = settings.search_boosts
    unknown = sorted(set(given) - set(FIELDS))
    if unknown or not all(boost >= 0 and math.isfinite(boost) for boost in given.values()):
        raise ConfigurationError(
            f"PORTRAIT_SEARCH_BOOSTS takes numbers of at least 0 for {', '.join(FIELDS)}; got {given}"
        )
    return SearchConfig(boosts=MappingProxyType({**_boosts(), **given}), meaning_floor=settings.search_meaning_floor)
