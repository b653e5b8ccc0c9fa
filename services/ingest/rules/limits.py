"""The limits that both HTTP ingest and file imports enforce (docs/event_schema.md)."""

from datetime import UTC, datetime, timedelta

MAX_EVENTS = 1_000
MAX_ITEMS = 1_000
MAX_EVENTS_BYTES = 1 << 20
MAX_ITEMS_BYTES = 8 << 20
MAX_USER_BYTES = 64 << 10

ID_LENGTH = 128

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Older events are refused: no shop logged them, and each month of them would make a partition."""

AHEAD = timedelta(minutes=5)
"""How far ahead of our clock an event's may run."""

POSITION_MAX = 1_000_000
DWELL_MAX_MS = 24 * 60 * 60 * 1_000
QUANTITY_MAX = 1_000_000
PRICE_MAX = 1e9
RATING_MIN, RATING_MAX = 1.0, 5.0
TEXT_LENGTH = 50_000
QUERY_LENGTH = 1_000

TITLE_LENGTH = 2_000
DESCRIPTION_LENGTH = 50_000
NAME_LENGTH = 200
CATEGORIES = 32
URLS = 32
URL_LENGTH = 2_048
ATTRIBUTES_BYTES = 32 << 10
