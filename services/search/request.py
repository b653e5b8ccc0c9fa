"""What a caller asks of search: the structs decode the HTTP body, describe it in OpenAPI and drive the pipeline."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from services.core.wire import Id
from services.features.filters import ItemFilter

MAX_QUERY = 512
"""Characters of a query. What is longer was pasted, not asked."""
MAX_COUNT = 100
MAX_OFFSET = 10_000
MAX_CURSOR = 8_192


class Sort(StrEnum):
    """The order of the results. All but relevance sort what matches; items without the value come last."""

    RELEVANCE = "relevance"
    PRICE_ASCENDING = "price_ascending"
    PRICE_DESCENDING = "price_descending"
    NEWEST = "newest"
    RATING = "rating"
    POPULARITY = "popularity"


class FacetName(StrEnum):
    """What results can be counted by."""

    CATEGORIES = "categories"
    BRANDS = "brands"
    PRICE = "price"
    AVAILABLE = "available"


class SearchRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One page of results for one query."""

    query: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY, description="What was typed, as it was typed.")]
    user_id: Annotated[
        Id | None, Meta(description="Whose portrait the results are ranked for; nobody's when absent.")
    ] = None
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 20
    offset: Annotated[int, Meta(ge=0, le=MAX_OFFSET, description="Results to skip. A cursor is steadier.")] = 0
    cursor: Annotated[
        Annotated[str, Meta(max_length=MAX_CURSOR)] | None,
        Meta(description="`next_cursor` of the page before: the next page then repeats nothing of the earlier ones."),
    ] = None
    filter: ItemFilter = ItemFilter()
    sort: Sort = Sort.RELEVANCE
    facets: Annotated[tuple[FacetName, ...], Meta(max_length=4, description="What to count all matches by.")] = ()
    highlight: Annotated[bool, Meta(description="Mark the words found in the titles, as safe HTML.")] = True
    explain: Annotated[bool, Meta(description="Say what moved each result.")] = False
    operators: Annotated[
        bool, Meta(description='Read "phrases", -excluded and field:word as syntax; otherwise they are plain text.')
    ] = False
    correct: Annotated[bool, Meta(description="False: search for the very words that were typed.")] = True
