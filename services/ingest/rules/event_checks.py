"""What an event must satisfy, shared by HTTP ingest and file imports."""

from datetime import datetime

import polars as pl

from services.core.columns import EVENT_ID, EVENT_PROPERTIES, ITEM_ID, TIMESTAMP, TYPE, USER_ID
from services.core.types import EventType
from services.ingest.rules import limits
from services.ingest.rules.checks import Check, id_checks, outside, too_long
from services.ingest.rules.names import Rule

PROPERTIES: tuple[str, ...] = tuple(dict.fromkeys(p for names in EVENT_PROPERTIES.values() for p in names))
"""Every property that some event type carries."""


def event_checks(now: datetime) -> list[Check]:
    """The checks, in the order in which a row's first failure is reported. Columns are those of `EVENT_COLUMNS`."""
    return [
        *(check for column in (EVENT_ID, USER_ID) for check in id_checks(column)),
        *_types(),
        *(c for column in (ITEM_ID, "session_id", "request_id", "surface") for c in id_checks(column, required=False)),
        *_times(now),
        *_belonging(),
        *_ranges(),
    ]


def _types() -> list[Check]:
    kinds = ", ".join(EventType)
    unknown = ~pl.col(TYPE).is_in(list(EventType))
    is_search = pl.col(TYPE) == EventType.SEARCH
    return [
        Check(Rule.MALFORMED, "missing-field", f"type is missing: use one of {kinds}", pl.col(TYPE).is_null()),
        Check(Rule.MALFORMED, "unknown-type", f"type is unknown: use one of {kinds}", unknown),
        Check(
            Rule.MALFORMED,
            "item-missing",
            "item_id is missing: every event but a search needs the item it is about",
            pl.col(ITEM_ID).is_null() & ~is_search,
        ),
        Check(
            Rule.MALFORMED,
            "item-not-allowed",
            "a search has no item_id: remove it, and send the click on a result as a click with the request_id",
            pl.col(ITEM_ID).is_not_null() & is_search,
        ),
        _needs(EventType.SEARCH, "query", "a search needs a query: the words the user typed"),
        _needs(EventType.RATING, "rating", "a rating event needs a rating between 1 and 5"),
        _needs(EventType.REVIEW, "text", "a review needs a text: send a rating event where there is none"),
    ]


def _needs(kind: EventType, column: str, message: str) -> Check:
    absent = pl.col(column).is_null()
    if column != "rating":
        absent |= pl.col(column).str.strip_chars() == ""
    return Check(Rule.MALFORMED, f"{column}-missing", message, (pl.col(TYPE) == kind) & absent)


def _times(now: datetime) -> list[Check]:
    time = pl.col(TIMESTAMP)
    return [
        Check(Rule.MALFORMED, "missing-field", "timestamp is missing: say when it happened", time.is_null()),
        Check(
            Rule.IMPOSSIBLE,
            "timestamp-future",
            "timestamp is more than 5 minutes ahead: check the sender's clock and time zone",
            time > now + limits.AHEAD,
        ),
        Check(
            Rule.IMPOSSIBLE,
            "timestamp-too-old",
            f"timestamp is before {limits.EARLIEST:%Y-%m-%d}: check its unit (seconds or milliseconds) and format",
            time < limits.EARLIEST,
        ),
    ]


def _belonging() -> list[Check]:
    """A property on an event type that does not carry it."""
    checks = []
    for name in PROPERTIES:
        carriers = [kind for kind, names in EVENT_PROPERTIES.items() if name in names]
        message = f"{name} does not belong to this type: it goes with {' and '.join(carriers)}; remove it"
        fails = pl.col(name).is_not_null() & ~pl.col(TYPE).is_in(carriers)
        checks.append(Check(Rule.MALFORMED, "property-not-allowed", message, fails))
    return checks


def _ranges() -> list[Check]:
    return [
        outside("position", 0, limits.POSITION_MAX),
        outside("dwell_ms", 0, limits.DWELL_MAX_MS, " milliseconds"),
        outside("depth", 0, 1),
        outside("quantity", 1, limits.QUANTITY_MAX),
        outside("price", 0, limits.PRICE_MAX),
        outside("rating", limits.RATING_MIN, limits.RATING_MAX),
        too_long("text", limits.TEXT_LENGTH),
        too_long("query", limits.QUERY_LENGTH),
    ]
