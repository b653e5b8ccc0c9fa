"""A strictly decoded, certainly valid batch of events as lines of COPY, column by column without a frame."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter

from services.core.types import EventType
from services.db.copy import NULL
from services.db.event_keys import event_keys
from services.db.event_lines import EventLines
from services.ingest.event_wire import EPOCH, MICROSECOND, NO_PROPERTIES, StrictEvent
from services.ingest.rules.text import clean_one

TEXT_NEEDED = ((EventType.REVIEW, "text"), (EventType.SEARCH, "query"))
SMALLEST_REAL = 1e-30
"""A depth between zero and this may be too small for PostgreSQL's `real`: frames round it."""


def encode(events: Sequence[StrictEvent], *, plain: bool) -> EventLines | None:
    """The events as `LINE_COLUMNS`; None where a frame must decide: a needed text of nothing but markup, a tiny depth.

    `plain` says that no id of the batch can hold a backslash; a cleaned text can, whatever it was written as.
    """
    properties = [event.properties or NO_PROPERTIES for event in events]
    texts = {name: [_cleaned(value) for value in map(attrgetter(name), properties)] for _, name in TEXT_NEEDED}
    for kind, name in TEXT_NEEDED:
        if any(value is None and event.type == kind for event, value in zip(events, texts[name], strict=True)):
            return None
    depths = list(map(attrgetter("depth"), properties))
    if any(depth and depth < SMALLEST_REAL for depth in depths):
        return None
    ids, users, types, times = (
        list(map(attrgetter(name), events)) for name in ("event_id", "user_id", "type", "timestamp")
    )
    keys = event_keys(ids)

    def escaped(values: Iterable[str | None]) -> list[str]:
        return [NULL if value is None else value.replace("\\", "\\\\") for value in values]

    def text(values: Iterable[str | None]) -> list[str]:
        return [NULL if value is None else value for value in values] if plain else escaped(values)

    def number(name: str) -> list[str]:
        return [NULL if value is None else repr(value) for value in map(attrgetter(name), properties)]

    columns = (
        keys,
        text(ids),
        text(users),
        text(map(attrgetter("item_id"), events)),
        types,
        map(datetime.isoformat, times),
        *(text(map(attrgetter(name), events)) for name in ("session_id", "request_id", "surface")),
        *map(number, ("position", "dwell_ms", "depth", "quantity", "price", "rating")),
        escaped(texts["text"]),
        escaped(texts["query"]),
    )
    lines = list(map("\t".join, zip(*columns, strict=True)))
    return EventLines(keys, [(time - EPOCH) // MICROSECOND for time in times], users, lines)


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean_one(text)
