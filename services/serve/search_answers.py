"""The shapes of search's answers: encoded from these structs, and described from them in OpenAPI."""

from typing import Any, Literal

import msgspec

from services.search.result import Facets
from services.serve.answers import FeatureStatus, Model


class SearchItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """`rank` from 1, counted over all pages. `highlight`: the title as HTML, everything escaped but `<em>`."""

    item_id: str
    score: float
    rank: int
    highlight: str | None = None
    reasons: list[dict[str, Any]] | None = None


class SearchAnswer(msgspec.Struct, frozen=True):
    """`mode`: hybrid (words and meaning), lexical (words alone: `query_vector` says why), semantic (meaning alone), or
    not-ready while the shop has no search index yet. `flags`: what else was less than everything. `degraded`: the
    online store did not answer, was emptied or is being rebuilt: the user may have been treated as unknown."""

    request_id: str
    items: list[SearchItem]
    total: int
    corrected_query: str | None
    did_you_mean: str | None
    facets: Facets | None
    next_cursor: str | None
    mode: Literal["hybrid", "lexical", "semantic", "not-ready"]
    flags: list[str]
    query_vector: str
    model: Model
    versions: dict[str, str]
    profile_age_ms: int | None
    took_ms: float
    degraded: bool
    features: dict[str, FeatureStatus]


class SuggestedText(msgspec.Struct, frozen=True):
    """`kind`: recent (the user's own), query (others'), category, brand, title (words that recur in titles)."""

    text: str
    kind: Literal["recent", "query", "category", "brand", "title"]


class SuggestAnswer(msgspec.Struct, frozen=True):
    suggestions: list[SuggestedText]
    took_ms: float


class PhotoItem(msgspec.Struct, frozen=True):
    """`score`: the cosine of the two pictures."""

    item_id: str
    score: float
    rank: int


class PhotoAnswer(msgspec.Struct, frozen=True):
    """Items whose pictures are like the photo, most alike first."""

    request_id: str
    items: list[PhotoItem]
    took_ms: float
