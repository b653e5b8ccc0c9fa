"""Frame rows as the JSON objects of the contract, ready for JSON lines or a request body."""

from datetime import UTC, datetime

from services.core.types import EventType

_TOP_LEVEL = ("event_id", "user_id", "item_id", "type", "timestamp", "session_id", "request_id", "surface")
_PROPERTIES: dict[str, tuple[str, ...]] = {
    EventType.IMPRESSION: ("position",),
    EventType.VIEW: ("dwell_ms", "depth"),
    EventType.CLICK: ("position",),
    EventType.FAVOURITE: (),
    EventType.HIDE: (),
    EventType.CART: ("quantity", "price"),
    EventType.PURCHASE: ("quantity", "price"),
    EventType.RATING: ("rating",),
    EventType.REVIEW: ("text", "rating"),
    EventType.SEARCH: ("query",),
}


def rfc3339(moment: datetime) -> str:
    """The moment in UTC with microseconds and offset, as the contract's timestamps are written."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def event_document(row: dict) -> dict:
    """One row of an event frame as an event object; absent fields are left out."""
    document = {name: row[name] for name in _TOP_LEVEL if row[name] is not None}
    document["timestamp"] = rfc3339(row["timestamp"])
    document["properties"] = {name: row[name] for name in _PROPERTIES[row["type"]] if row[name] is not None}
    return document


def item_document(row: dict) -> dict:
    """One row of an item frame as an item object; absent attributes are left out."""
    attributes = {name: value for name, value in row["attributes"].items() if value is not None}
    return {**row, "attributes": attributes, "published_at": rfc3339(row["published_at"])}
