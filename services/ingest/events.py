"""Events that come over HTTP: decoded, cleaned, checked."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from services.db.event_lines import EventLines, lines_of
from services.ingest.batches import BatchDecoder, Rejection
from services.ingest.event_encode import encode
from services.ingest.event_shapes import certainly_valid
from services.ingest.event_wire import StrictEvent, WireEvent, event_frame, narrow
from services.ingest.rules.checks import first_failures
from services.ingest.rules.event_checks import event_checks
from services.ingest.rules.limits import MAX_EVENTS, MAX_EVENTS_BYTES
from services.ingest.rules.text import clean_one

TEXTS = ("text", "query")
DECODER = BatchDecoder("events", WireEvent, limit=MAX_EVENTS, limit_bytes=MAX_EVENTS_BYTES, strict=StrictEvent)


@dataclass(frozen=True)
class ParsedBatch:
    """Accepted rows (columns of `EVENT_COLUMNS` or `ITEM_COLUMNS`, in the order sent) and what was rejected."""

    frame: pl.DataFrame
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True)
class EncodedBatch:
    """Accepted events ready for COPY, in the order sent, and what was rejected."""

    events: EventLines = field(default_factory=EventLines)
    rejected: list[Rejection] = field(default_factory=list)


def parse_events(body: bytes | Sequence[Any], now: datetime) -> ParsedBatch:
    """Validate up to 1,000 events: the JSON body `{"events": […]}`, or a list of decoded events.

    Every event stands alone: a bad one is listed in `rejected` with its index, and its neighbours are in `frame`.

    Raises:
        MalformedBody, InvalidInput, BodyTooLarge: nothing of the body can be taken.
    """
    strict = DECODER.decode_strictly(body)
    if strict is not None and certainly_valid(strict, now):
        frame = _cleaned(event_frame(strict))
        if not any(_lost_its_text(frame, kind, name) for kind, name in (("review", "text"), ("search", "query"))):
            return ParsedBatch(narrow(frame))
    positions, events, rejected = DECODER.decode(body)
    frame = _cleaned(event_frame(events))
    checks = event_checks(now)
    failures = first_failures(frame, checks)
    rejected += [
        Rejection(positions[row], checks[check].code, checks[check].message)
        for row, check in enumerate(failures)
        if check is not None
    ]
    rejected.sort(key=lambda rejection: rejection.index)
    return ParsedBatch(narrow(frame.filter(failures.is_null())), rejected)


def encode_events(body: bytes, now: datetime) -> EncodedBatch:
    """Validate up to 1,000 events, as `parse_events` does with the same outcome, straight into lines of COPY.

    Raises:
        MalformedBody, InvalidInput, BodyTooLarge: nothing of the body can be taken.
    """
    strict = DECODER.decode_strictly(body)
    if strict is not None and certainly_valid(strict, now):
        lines = encode(strict, plain=b"\\" not in body)
        if lines is not None:
            return EncodedBatch(lines)
    parsed = parse_events(body, now)
    return EncodedBatch(lines_of(parsed.frame), parsed.rejected)


def _cleaned(frame: pl.DataFrame) -> pl.DataFrame:
    """The texts cleaned, one by one: what columns cost at any length is more than a batch of this size is worth."""
    return frame.with_columns(
        pl.Series(name, [None if text is None else clean_one(text) for text in frame[name]], dtype=pl.String)
        for name in TEXTS
    )


def _lost_its_text(frame: pl.DataFrame, kind: str, name: str) -> bool:
    """Whether cleaning left nothing of a text that the type needs."""
    return bool(((frame["type"] == kind) & frame[name].is_null()).any())
