"""What `POST /v1/search` takes beside what search itself asks for, and the cursor that carries a search over pages."""

import re
from dataclasses import dataclass
from typing import Annotated, Self
from uuid import uuid4

from msgspec import Meta

from services.core.errors import InvalidInput
from services.core.wire import Text
from services.recommend.request import RecentEvent
from services.search.request import SearchRequest

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
CURSOR = re.compile(r"([0-9a-f]{32})\.(\d{1,6})\.(.*)", re.DOTALL)


class WireSearch(SearchRequest, forbid_unknown_fields=True, frozen=True):
    """One page of results for one query."""

    surface: Annotated[Text | None, Meta(description="Where the list is shown; kept with the impressions.")] = None
    recent_events: Annotated[
        tuple[RecentEvent, ...], Meta(max_length=100, description="Oldest first; they count at once.")
    ] = ()


@dataclass(frozen=True)
class Page:
    """One search over its pages: the id that clicks are attributed to, how many results were shown, where to go on."""

    request_id: str
    shown: int = 0
    cursor: str | None = None

    @classmethod
    def of(cls, cursor: str | None, offset: int = 0) -> Self:
        """The page that a caller's cursor leads to; that of a new search from `offset` on without one. Raises
        InvalidInput."""
        if cursor is None:
            return cls(uuid4().hex, offset)
        found = CURSOR.fullmatch(cursor)
        if found is None:
            raise InvalidInput("`cursor` is not one of ours: send `next_cursor` as it came", field="cursor")
        return cls(found[1], int(found[2]), found[3])

    def next(self, results: int, cursor: str | None) -> str | None:
        """The cursor of the page after this one, which shows `results` items; None on the last."""
        return None if cursor is None else f"{self.request_id}.{self.shown + results}.{cursor}"


def printable(query: str) -> str:
    """The query with control characters as spaces, none around it. Raises InvalidInput where nothing is left."""
    text = UNPRINTABLE.sub(" ", query).strip()
    if not text:
        raise InvalidInput("`query` has nothing to search for: send words", field="query")
    return text
