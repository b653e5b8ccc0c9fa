"""Give every item its vectors: read what is stale, encode what no encoder has seen, fuse, write."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import Engine, text

from services.core.types import Modality
from services.db.embeddings import (
    EmbeddingRow,
    StoredEmbedding,
    cached_embeddings,
    count_stale_items,
    forget_failures,
    stale_items,
    write_embeddings,
    write_vectors,
)
from services.db.items import read_items
from services.db.session import transaction
from services.encoders.encoder_set import EncoderSet
from services.encoders.fusion import fuse
from services.workers.due import PASSING_REASONS
from services.workers.modalities import ModalityReader, readers

CHUNK = 1_024
COUNTED = ("encoded", "cached", "without")


@dataclass(frozen=True)
class ModalityVectors:
    """Vectors (n, d) float32 of one modality of a chunk's items, and which rows have one."""

    vectors: NDArray[np.float32]
    present: NDArray[np.bool_]


@dataclass
class EmbeddingReport:
    """What one run did; `encoded` and `cached` count by modality, `without` by `modality/reason`."""

    items: int = 0
    changed: int = 0
    encoded: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)

    def add(self, chunk: "EmbeddingReport") -> None:
        """Count what was done for some more items."""
        self.items += chunk.items
        self.changed += chunk.changed
        for name in COUNTED:
            getattr(self, name).update(getattr(chunk, name))

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        counts = {name: dict(getattr(self, name)) for name in COUNTED}
        return {"items": self.items, "changed": self.changed, **counts}


def embed_items(
    engine: Engine, encoders: EncoderSet, progress: Callable[[float], None], *, retry: bool = False
) -> EmbeddingReport:
    """Bring the vectors of all stale items up to date, a chunk at a time.

    While one chunk is encoded the next is read and the one before is written, so that the device need not wait for
    PostgreSQL; three chunks are in memory. `retry` also goes through items whose media could not be fetched for a
    passing reason.
    """
    report = EmbeddingReport()
    with transaction(engine) as connection:
        if retry:
            forget_failures(connection, PASSING_REASONS)
        total = max(count_stale_items(connection, encoders.space), 1)
    kinds = readers(encoders)
    with ThreadPoolExecutor(1, "reads") as reading, ThreadPoolExecutor(1, "writes") as writing:
        ahead, under_way = reading.submit(_read, engine, encoders.space, kinds, ""), None
        while (chunk := ahead.result()) is not None:
            ahead = reading.submit(_read, engine, encoders.space, kinds, chunk.ids[-1])
            contents = [_encoded(content, chunk.items) for content in chunk.contents]
            _finished(under_way, report, total, progress)
            under_way = writing.submit(_write, engine, encoders, chunk, contents)
        _finished(under_way, report, total, progress)
    return report


@dataclass(frozen=True)
class _Content:
    """One modality of a chunk: its hash by item, None where an item has no such content, and what is `known` by hash;
    `encoded`: how many of these were not stored before."""

    reader: ModalityReader
    hashes: list[bytes | None]
    known: dict[bytes, StoredEmbedding]
    encoded: int = 0


@dataclass(frozen=True)
class _Chunk:
    """Items with what is stored of their contents, read at a time of the database's clock."""

    items: pl.DataFrame
    read_at: datetime
    contents: list[_Content]

    @property
    def ids(self) -> list[str]:
        return self.items["item_id"].to_list()


def _read(engine: Engine, space: str, kinds: Sequence[ModalityReader], after: str) -> _Chunk | None:
    """The next stale items after one, in order of their ids."""
    with transaction(engine) as connection:
        read_at: datetime = connection.execute(text("SELECT now()")).scalar_one()
        ids = stale_items(connection, space, after=after, limit=CHUNK)
        if not ids:
            return None
        items = cast(pl.DataFrame, pl.from_arrow(read_items(connection, ids)))
        contents = []
        for reader in kinds:
            hashes = reader.hashes(items)
            wanted = list({digest: None for digest in hashes if digest is not None})
            contents.append(_Content(reader, hashes, cached_embeddings(connection, reader.version, wanted)))
    return _Chunk(items, read_at, contents)


def _encoded(content: _Content, items: pl.DataFrame) -> _Content:
    """With embeddings of all contents: those that are not stored are encoded, each once."""
    first_row = {digest: row for row, digest in reversed(list(enumerate(content.hashes))) if digest is not None}
    fresh = [row for digest, row in first_row.items() if digest not in content.known]
    made = content.reader.encode(items[fresh]) if fresh else []
    hashes = [digest for row in fresh if (digest := content.hashes[row]) is not None]
    return replace(content, known=content.known | dict(zip(hashes, made, strict=True)), encoded=len(fresh))


def _write(engine: Engine, encoders: EncoderSet, chunk: _Chunk, contents: list[_Content]) -> EmbeddingReport:
    """Store a chunk's embeddings and the vectors fused of them. What was done."""
    report, ids = EmbeddingReport(items=len(chunk.ids)), chunk.ids
    for content in contents:
        rows = [
            EmbeddingRow(ids[row], digest, content.known[digest].vector, content.known[digest].reason)
            for row, digest in enumerate(content.hashes)
            if digest is not None
        ]
        with transaction(engine) as connection:
            write_embeddings(connection, content.reader.modality.value, content.reader.version, rows)
        _count(report, content.reader.modality, rows, content.encoded)
    blocks = {one.reader.modality: _block(one.hashes, one.known, one.reader.dimension) for one in contents}
    vectors, covered = fuse(
        **{modality.value: block.vectors for modality, block in blocks.items()},
        masks={modality: block.present for modality, block in blocks.items()},
        config=encoders.fusion,
    )
    rows_covered = np.flatnonzero(covered)
    modalities = [[modality.value for modality in Modality if blocks[modality].present[row]] for row in rows_covered]
    with transaction(engine) as connection:
        changed = write_vectors(
            connection,
            encoders.space,
            [ids[row] for row in rows_covered],
            vectors[rows_covered],
            modalities,
            chunk.read_at,
        )
    report.changed = len(changed)
    return report


def _finished(
    under_way: Future[EmbeddingReport] | None,
    report: EmbeddingReport,
    total: int,
    progress: Callable[[float], None],
) -> None:
    """Wait for a chunk to be written, if one is, and count it."""
    if under_way is not None:
        report.add(under_way.result())
        progress(report.items / total)


def _count(report: EmbeddingReport, modality: Modality, rows: list[EmbeddingRow], encoded: int) -> None:
    report.encoded[modality.value] += encoded
    report.cached[modality.value] += len(rows) - encoded
    report.without.update(f"{modality.value}/{row.reason}" for row in rows if row.reason is not None)


def _block(hashes: list[bytes | None], known: dict[bytes, StoredEmbedding], dimension: int) -> ModalityVectors:
    vectors = np.zeros((len(hashes), dimension), np.float32)
    present = np.zeros(len(hashes), bool)
    for row, digest in enumerate(hashes):
        vector = None if digest is None else known[digest].vector
        if vector is not None:
            vectors[row], present[row] = vector, True
    return ModalityVectors(vectors, present)
