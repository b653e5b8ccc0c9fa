"""Column names and types of the canonical event and item tables, written once.

Every importer, the HTTP ingest, the simulated shop and the database speak these columns. The values are Arrow type
names, so that no frame library is imported here.
"""

EVENT_ID = "event_id"
USER_ID = "user_id"
ITEM_ID = "item_id"
TYPE = "type"
TIMESTAMP = "timestamp"

EVENT_COLUMNS: dict[str, str] = {
    EVENT_ID: "string",
    USER_ID: "string",
    ITEM_ID: "string",
    TYPE: "string",
    TIMESTAMP: "timestamp[us, tz=UTC]",
    "session_id": "string",
    "request_id": "string",
    "surface": "string",
    "position": "int32",
    "dwell_ms": "int64",
    "depth": "float32",
    "quantity": "int32",
    "price": "float64",
    "rating": "float32",
    "text": "string",
    "query": "string",
    "synthetic_time": "bool",
}
"""One row an event. `properties` of the wire format are flat here; what a type does not carry is null."""

EVENT_PROPERTIES: dict[str, tuple[str, ...]] = {
    "impression": ("position",),
    "view": ("dwell_ms", "depth"),
    "click": ("position",),
    "favourite": (),
    "hide": (),
    "cart": ("quantity", "price"),
    "purchase": ("quantity", "price"),
    "rating": ("rating",),
    "review": ("text", "rating"),
    "search": ("query",),
}
"""The properties each event type may carry (docs/event_schema.md)."""

ITEM_COLUMNS: dict[str, str] = {
    ITEM_ID: "string",
    "title": "string",
    "description": "string",
    "brand": "string",
    "categories": "list<string>",
    "price": "float64",
    "currency": "string",
    "attributes": "json",
    "image_urls": "list<string>",
    "video_urls": "list<string>",
    "available": "bool",
    "published_at": "timestamp[us, tz=UTC]",
}
"""One row a catalogue item. `attributes` is a JSON object of scalars or lists of scalars."""
