"""A quick proof, without the column checks, that a strictly decoded batch of events is valid.

The column checks cost a millisecond whatever the size of the batch; this costs a microsecond an event. It may fail to
prove a valid batch, which the checks then decide; it never accepts what they would reject (a property test compares).
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter

from services.core.columns import EVENT_ID, EVENT_PROPERTIES, ITEM_ID, USER_ID
from services.core.types import EventType
from services.ingest.event_wire import NO_PROPERTIES, StrictEvent
from services.ingest.rules import limits

OPTIONAL_IDS = (ITEM_ID, "session_id", "request_id", "surface")
SHAPE_ORDER = ("position", "dwell_ms", "depth", "quantity", "price", "rating", "text", "query")
"""The order of the properties in a shape."""

NEEDED = {EventType.SEARCH: "query", EventType.RATING: "rating", EventType.REVIEW: "text"}


def certainly_valid(events: Sequence[StrictEvent], now: datetime) -> bool:
    """Whether ids, times and the properties of each type are beyond doubt."""
    times = list(map(attrgetter("timestamp"), events))
    if min(times) < limits.EARLIEST or max(times) > now + limits.AHEAD:
        return False
    for name in (EVENT_ID, USER_ID):
        if not _plain(list(map(attrgetter(name), events))):
            return False
    for name in OPTIONAL_IDS:
        if not _plain([value for value in map(attrgetter(name), events) if value is not None]):
            return False
    return all(_allowed(shape) for shape in set(map(_shape, events)))


def _plain(ids: list[str]) -> bool:
    """Printable in Python's sense (which excludes more than control characters) and not blank."""
    return all(map(str.isprintable, ids)) and not any(map(str.isspace, ids))


def _shape(event: StrictEvent) -> tuple[object, ...]:
    """Type and which optional parts are there."""
    p = event.properties or NO_PROPERTIES
    return (
        event.type,
        event.item_id is not None,
        p.position is not None,
        p.dwell_ms is not None,
        p.depth is not None,
        p.quantity is not None,
        p.price is not None,
        p.rating is not None,
        p.text is not None,
        p.query is not None,
    )


@cache
def _allowed(shape: tuple[object, ...]) -> bool:
    kind, has_item, *present = shape
    sent = {name for name, there in zip(SHAPE_ORDER, present, strict=True) if there}
    needed = NEEDED.get(EventType(kind))
    return (
        has_item == (kind != EventType.SEARCH)
        and sent <= set(EVENT_PROPERTIES[kind])
        and (needed is None or needed in sent)
    )
