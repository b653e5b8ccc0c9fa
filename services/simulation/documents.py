"""Frame rows as the JSON objects of the contract, ready for JSON lines or a request body."""

from datetime import UTC, datetime

import orjson

from services.core.columns import EVENT_PROPERTIES

_TOP_LEVEL = ("event_id", "user_id", "item_id", "type", "timestamp", "session_id", "request_id", "surface")


def rfc3339(moment: datetime) -> str:
    """The moment in UTC with microseconds and offset, as the contract's timestamps are written."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def event_document(row: dict) -> dict:
    """One row of an event frame as an event object; absent fields are left out."""
    document = {name: row[name] for name in _TOP_LEVEL if row[name] is not None}
    document["timestamp"] = rfc3339(row["timestamp"])
    properties = {name: row[name] for name in EVENT_PROPERTIES[row["type"]] if row[name] is not None}
    if "depth" in properties:
        properties["depth"] = round(properties["depth"], 3)
    if "rating" in properties:
        properties["rating"] = int(properties["rating"])
    return {**document, "properties": properties}


def item_document(row: dict) -> dict:
    """One row of an item frame as an item object."""
    return {**row, "attributes": orjson.loads(row["attributes"]), "published_at": rfc3339(row["published_at"])}
