"""What every importer is: a name, a way to recognise its files, and a bounded-memory reader of chunks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import polars as pl

from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

ROW = "row"
"""Column with the row's number in its file, counted from 1 (a header line counts)."""

CHUNK_ROWS = 50_000
BLOCK_BYTES = 4 << 20


class Kind(StrEnum):
    EVENTS = "events"
    ITEMS = "items"


@dataclass(frozen=True)
class ImportOptions:
    """What the caller says about a file. What is None, the format decides.

    `mapping` is our column to theirs (a name, or a position counted from 0). `event_type` is the type of rows whose
    file has no type column. `until` is the time of each user's last event where a file holds an order only. `zone` is
    the time zone of times that name none.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    event_type: str | None = None
    header: bool = True
    delimiter: str | None = None
    encoding: str | None = None
    rating_scale: RatingScale | None = None
    until: datetime | None = None
    zone: str = "UTC"
    list_separator: str = "|"
    keep_robots: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A row that could not be turned into columns at all."""

    row: int
    message: str
    original: str


@dataclass(frozen=True)
class Chunk:
    """Some rows of a file.

    `frame` has the column `ROW` and those of `EVENT_COLUMNS` or `ITEM_COLUMNS` that the file has, as text or already
    typed; the rules make them canonical. `rows` is the number of rows read up to the end of this chunk.
    """

    frame: pl.DataFrame
    rows: int
    unreadable: list[Unreadable] = field(default_factory=list)


class Importer(Protocol):
    """One format. `identity` names the columns that make an event's id where the file has none (empty: all)."""

    format: str
    kind: Kind
    description: str
    rating_scale: RatingScale
    identity: tuple[str, ...]

    def recognises(self, head: Head) -> bool:
        """Whether a file that begins like this is of the format."""
        ...

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        """The file's rows in chunks; memory does not grow with the file.

        Raises:
            ImportFailed: the file is damaged, or not of this format; the detail names the row and the cure.
        """
        ...
