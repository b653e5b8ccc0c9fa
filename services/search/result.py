"""What search answers."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mode(StrEnum):
    """What an answer was made of, where that is less than everything."""

    LEXICAL = "lexical"
    """By words alone: there was no query vector, or the snapshot has no vectors."""
    SEMANTIC = "semantic"
    """By meaning alone: no item holds the words."""
    RELAXED = "relaxed"
    """No item holds all the words: those that hold the most telling ones were counted."""
    NEAR = "near"
    """Nothing is a result: what is shown is nearest in words or meaning, and `total` is 0."""
    UNPERSONALISED = "unpersonalised"
    """Nothing of a user went into the order."""
    NOT_RERANKED = "not-reranked"
    """The ranker's cross-encoder did not answer in time: the first results are in the ranker's own order."""
    RANKER_REFUSED = "ranker-refused"
    """The trained ranker that should serve cannot: the untrained one made the order."""


@dataclass(frozen=True)
class TermCount:
    """How many of the matches have this category or brand."""

    name: str
    count: int


@dataclass(frozen=True)
class PriceBand:
    """How many of the matches cost at least `low` and less than `high` (None: no bound)."""

    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class PriceFacet:
    """Prices of the matches: the ends, None when no match has a price, and bands of round numbers."""

    low: float | None
    high: float | None
    bands: list[PriceBand]


@dataclass(frozen=True)
class AvailabilityFacet:
    """How many of the matches can be bought, and how many cannot."""

    available: int
    unavailable: int


@dataclass(frozen=True)
class Facets:
    """Counts over all matches, not only those of the page; None for what was not asked for.

    Each facet counts under the request's filter without its own field: choosing a brand does not hide the others.
    """

    categories: list[TermCount] | None = None
    brands: list[TermCount] | None = None
    price: PriceFacet | None = None
    available: AvailabilityFacet | None = None


@dataclass(frozen=True)
class SearchResult:
    """One page: `item_ids`, `scores`, `highlights`, `reasons` are parallel, in the list's order.

    `total`: how many results there are in all (docs/search.md), 0 also where what is near is shown all the same.
    `corrected_query`: what was searched for instead of what was typed; `did_you_mean`: what was not searched for but
    may have been meant. `highlights`: titles as HTML, everything escaped but `<em>` around the words found.
    `next_cursor`: for the next page, None on the last. `versions`: of "snapshot", "index" and "ranker". `stages`:
    seconds by stage.
    """

    item_ids: list[str]
    scores: list[float]
    total: int
    corrected_query: str | None = None
    did_you_mean: str | None = None
    facets: Facets | None = None
    highlights: list[str] | None = None
    reasons: list[list[dict[str, Any]]] | None = None
    modes: tuple[Mode, ...] = ()
    next_cursor: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
