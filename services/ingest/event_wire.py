"""The event contract on the wire (docs/event_schema.md), decoded into columns."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Literal

import msgspec
import polars as pl

from services.core.columns import EVENT_COLUMNS, TIMESTAMP
from services.ingest.rules import limits

Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
TypeName = Literal["impression", "view", "click", "favourite", "hide", "cart", "purchase", "rating", "review", "search"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class EventProperties(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What some types carry; which ones is checked on the columns."""

    position: Integer | None = None
    dwell_ms: Integer | None = None
    depth: float | None = None
    quantity: Integer | None = None
    price: float | None = None
    rating: float | None = None
    text: str | None = None
    query: str | None = None


NO_PROPERTIES = EventProperties()


class WireEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One event as callers send it."""

    event_id: str
    user_id: str
    type: TypeName
    timestamp: Time
    item_id: str | None = None
    session_id: str | None = None
    request_id: str | None = None
    surface: str | None = None
    properties: EventProperties | None = None


Id = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.ID_LENGTH)]


class StrictProperties(EventProperties, forbid_unknown_fields=True, gc=False):
    """Properties with the limits of the checks, enforced while decoding."""

    position: Annotated[int, msgspec.Meta(ge=0, le=limits.POSITION_MAX)] | None = None
    dwell_ms: Annotated[int, msgspec.Meta(ge=0, le=limits.DWELL_MAX_MS)] | None = None
    depth: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    quantity: Annotated[int, msgspec.Meta(ge=1, le=limits.QUANTITY_MAX)] | None = None
    price: Annotated[float, msgspec.Meta(ge=0, le=limits.PRICE_MAX)] | None = None
    rating: Annotated[float, msgspec.Meta(ge=limits.RATING_MIN, le=limits.RATING_MAX)] | None = None
    text: Annotated[str, msgspec.Meta(max_length=limits.TEXT_LENGTH)] | None = None
    query: Annotated[str, msgspec.Meta(max_length=limits.QUERY_LENGTH)] | None = None


class StrictEvent(WireEvent, forbid_unknown_fields=True, gc=False, kw_only=True):
    """An event that decodes as this needs no check but those of `certainly_valid`."""

    event_id: Id
    user_id: Id
    item_id: Id | None = None
    session_id: Id | None = None
    request_id: Id | None = None
    surface: Id | None = None
    properties: StrictProperties | None = None


FLAT = ("event_id", "user_id", "item_id", "type", "session_id", "request_id", "surface")
WIDE: dict[str, pl.DataType] = {
    "position": pl.Int64,
    "dwell_ms": pl.Int64,
    "depth": pl.Float64,
    "quantity": pl.Int64,
    "price": pl.Float64,
    "rating": pl.Float64,
    "text": pl.String,
    "query": pl.String,
}
"""Properties as wide as the wire allows: ranges are checked before they are narrowed to `EVENT_COLUMNS`."""

NARROW = {"position": pl.Int32, "depth": pl.Float32, "quantity": pl.Int32, "rating": pl.Float32}


def event_frame(events: Sequence[WireEvent]) -> pl.DataFrame:
    """The events' columns, not yet checked: all of `EVENT_COLUMNS` but `synthetic_time`."""
    properties = [event.properties or NO_PROPERTIES for event in events]
    micros = [(event.timestamp - EPOCH) // MICROSECOND for event in events]
    columns = [pl.Series(name, list(map(attrgetter(name), events)), dtype=pl.String) for name in FLAT]
    columns.append(pl.Series(TIMESTAMP, micros, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")))
    for name, dtype in WIDE.items():
        columns.append(pl.Series(name, list(map(attrgetter(name), properties)), dtype=dtype))
    return pl.DataFrame(columns)


def narrow(frame: pl.DataFrame) -> pl.DataFrame:
    """Checked columns in the types of `EVENT_COLUMNS`, in their order, `synthetic_time` false where absent."""
    absent = [pl.lit(False).alias(name) for name in ("synthetic_time",) if name not in frame.columns]
    narrowed = [pl.col(name).cast(dtype) for name, dtype in NARROW.items()]
    return frame.with_columns(*narrowed, *absent).select(list(EVENT_COLUMNS))
