"""Options of an import as texts, read with a cure for what cannot be."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from services.core.errors import InvalidInput
from services.core.types import EventType
from services.ingest.rules.times import parse_time


def parse_event_type(text: str | None) -> str | None:
    """One of the event types, or None. Raises InvalidInput."""
    if text is not None and text not in list(EventType):
        raise InvalidInput(f"--type {text}: use one of {', '.join(EventType)}")
    return text


def parse_zone(text: str) -> str:
    """An IANA time zone. Raises InvalidInput."""
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"--timezone {text}: is no time zone: write one such as UTC or Europe/Berlin") from error


def parse_until(text: str | None, zone: str) -> datetime | None:
    """A date or time. Raises InvalidInput."""
    if text is None:
        return None
    frame = pl.DataFrame({"until": [text]})
    found = frame.select(parse_time("until", pl.String, zone)).item()
    if found is None:
        raise InvalidInput(f"--until {text}: is no time: write a date such as 2014-07-23, or RFC 3339")
    return found
