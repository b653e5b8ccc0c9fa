"""JSON lines in Portrait's own contract: one event or item a line, as in the bodies of the HTTP API."""

from collections.abc import Iterator

import msgspec
import polars as pl

from services.ingest.event_wire import WireEvent, event_frame
from services.ingest.importers.base import ROW, Chunk, ImportOptions, Kind
from services.ingest.importers.json_lines import read_records
from services.ingest.importers.source import Head, Source
from services.ingest.item_wire import WireItem, item_frame
from services.ingest.rules.ratings import RatingScale

EVENT_DECODER = msgspec.json.Decoder(WireEvent)
ITEM_DECODER = msgspec.json.Decoder(WireItem)


class JsonLinesEvents:
    """`{"event_id": …, "user_id": …, "type": …, "timestamp": …, "properties": {…}}` a line."""

    format = "jsonl"
    kind = Kind.EVENTS
    description = "JSON lines in the contract of POST /v1/events"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        line = head.lines[0]
        return line.lstrip().startswith("{") and '"user_id"' in line and '"type"' in line

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for records in read_records(source, EVENT_DECODER):
            frame = event_frame(records.values).with_columns(pl.Series(ROW, records.rows, dtype=pl.Int64))
            yield Chunk(frame, records.read, records.unreadable)


class JsonLinesItems:
    """`{"item_id": …, "title": …, …}` a line."""

    format = "jsonl"
    kind = Kind.ITEMS
    description = "JSON lines in the contract of PUT /v1/items"
    rating_scale = RatingScale()
    identity = ()

    def recognises(self, head: Head) -> bool:
        line = head.lines[0]
        return line.lstrip().startswith("{") and '"item_id"' in line and '"title"' in line

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        for records in read_records(source, ITEM_DECODER):
            frame = item_frame(records.values).with_columns(pl.Series(ROW, records.rows, dtype=pl.Int64))
            yield Chunk(frame, records.read, records.unreadable)
