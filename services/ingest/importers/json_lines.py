"""Lines of JSON, decoded into structs: all of a block at once, line by line where one is bad."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from services.ingest.batches import DECODING_ERRORS
from services.ingest.importers.base import Unreadable
from services.ingest.importers.lines import Block, read_blocks
from services.ingest.importers.source import Source
from services.ingest.wire_errors import explain

T = TypeVar("T")
ORIGINAL_LENGTH = 1_000


@dataclass(frozen=True)
class Records(Generic[T]):
    """Decoded records with their row numbers, what could not be decoded, and the number of rows read so far."""

    rows: list[int]
    values: list[T]
    unreadable: list[Unreadable]
    read: int


def read_records(source: Source, decoder: msgspec.json.Decoder) -> Iterator[Records[Any]]:
    """The file's records in blocks. Blank lines are skipped."""
    for block in read_blocks(source):
        yield decode_block(block, decoder)


def decode_block(block: Block, decoder: msgspec.json.Decoder) -> Records[Any]:
    """One block's records."""
    end = block.first + len(block.lines) - 1
    try:
        values = decoder.decode_lines(b"\n".join(block.lines))
        if len(values) == len(block.lines):
            return Records(list(range(block.first, end + 1)), values, [], end)
    except DECODING_ERRORS:
        pass  # decoded one by one below, which reports what is wrong
    rows, values, unreadable = [], [], []
    for row, line in enumerate(block.lines, block.first):
        if not line.strip():
            continue
        try:
            values.append(decoder.decode(line))
            rows.append(row)
        except DECODING_ERRORS as error:
            unreadable.append(unreadable_line(row, line, error))
    return Records(rows, values, unreadable, end)


def unreadable_line(row: int, line: bytes, error: Exception) -> Unreadable:
    """A line that is no record, with what is wrong with it."""
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        message = f"the line is not JSON ({str(error).removeprefix('JSON is malformed: ')}): write one record a line"
    else:
        message = explain(error)[1]
    return Unreadable(row, message, line[:ORIGINAL_LENGTH].decode("utf-8", "replace"))
