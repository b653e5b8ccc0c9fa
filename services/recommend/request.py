"""What a caller asks for. The same structs decode the HTTP body, describe it in OpenAPI and drive the pipeline."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from services.core.types import EventType
from services.core.wire import Id, Text
from services.features.filters import ItemFilter

MAX_COUNT = 500
MAX_RANKED = 1_000
FEWEST_STARS, MOST_STARS = 1, 5


class RecentEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Something the user has just done; it counts at once, before its event has reached the portrait.

    An event as `POST /v1/events` takes it may be given as it is. An event without an item counts for nothing here.
    """

    item_id: Id | None = None
    type: EventType = EventType.VIEW
    timestamp: (
        Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset, or epoch seconds; now when absent.")]
        | float
        | None
    ) = None
    event_id: Id | None = None
    user_id: Id | None = None
    session_id: str | None = None
    request_id: str | None = None
    surface: str | None = None
    properties: Annotated[dict[str, Any], Meta(max_length=20)] = {}

    def time(self, now: float) -> float:
        """When it happened in epoch seconds: `now` when it does not say, and never later."""
        if self.timestamp is None:
            return now
        said = self.timestamp.timestamp() if isinstance(self.timestamp, datetime) else self.timestamp
        return min(said, now)

    @property
    def rating(self) -> float | None:
        """The stars that its properties give, None without any (or with what the event log would reject)."""
        said = self.properties.get("rating")
        known = isinstance(said, int | float) and not isinstance(said, bool) and FEWEST_STARS <= said <= MOST_STARS
        return float(said) if known else None


class RecommendationRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One list of recommendations for one user."""

    user_id: Id
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 20
    surface: Text | None = None
    context: Annotated[
        dict[str, Any],
        Meta(
            max_length=20,
            description="Where the list is shown. `item_id` (product page), `item_ids` (cart), `category` and "
            "`categories` steer the candidates; other keys are ignored.",
        ),
    ] = {}
    recent_events: Annotated[tuple[RecentEvent, ...], Meta(max_length=100, description="Oldest first.")] = ()
    filter: ItemFilter = ItemFilter()
    exclude: Annotated[tuple[Id, ...], Meta(max_length=1_000)] = ()
    diversity: Annotated[float, Meta(ge=0, le=1, description="0: by score alone; 1: as different as can be.")] = 0.0
    explain: bool = False


class RankRequest(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Items to put in the user's order."""

    user_id: Id
    item_ids: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=MAX_RANKED)]
    recent_events: Annotated[tuple[RecentEvent, ...], Meta(max_length=100)] = ()
    explain: bool = False
