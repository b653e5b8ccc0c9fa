"""What a caller asks for. The same structs decode the HTTP body, describe it in OpenAPI and drive the pipeline."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from services.core.types import EventType

MAX_COUNT = 500
MAX_RANKED = 1_000

Id = Annotated[str, Meta(min_length=1, max_length=128, description="The shop's own id: any Unicode, 1–128 characters.")]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Scalar = str | float | bool


class PriceRange(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds in the shop's currency, both inclusive. Items without a price are left out."""

    min: Annotated[float, Meta(ge=0)] | None = None
    max: Annotated[float, Meta(ge=0)] | None = None


class ItemFilter(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What an item must satisfy: every given field, any of a field's values."""

    categories: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    brands: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    price: PriceRange | None = None
    available: Annotated[
        bool | None, Meta(description="True (default): available items only; null: any; false: unavailable ones only.")
    ] = True
    attributes: Annotated[
        dict[Text, Scalar | Annotated[tuple[Scalar, ...], Meta(max_length=50)]],
        Meta(max_length=20, description="Attribute to the value it must have, or to the values one of which it must."),
    ] = {}

    @property
    def selective(self) -> bool:
        """Whether more than availability is asked for."""
        return bool(self.categories or self.brands or self.price is not None or self.attributes)


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
