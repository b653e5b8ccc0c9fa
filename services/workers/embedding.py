"""Give every item its vectors: read what is stale, encode what no encoder has seen, fuse, write."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        counts = {name: dict(getattr(self, name)) for name in ("encoded", "cached", "without")}
        return {"items": self.items, "changed": self.changed, **counts}


def embed_items(
    engine: Engine, encoders: EncoderSet, progress: Callable[[float], None], *, retry: bool = False
) -> EmbeddingReport:
    """Bring the vectors of all stale items up to date, a chunk at a time, in memory for one chunk.

    `retry` also goes through items whose media could not be fetched for a passing reason.
    """
    report = EmbeddingReport()
    with transaction(engine) as connection:
        if retry:
            forget_failures(connection, PASSING_REASONS)
        total = count_stale_items(connection, encoders.space)
    after = ""
    while True:
        with transaction(engine) as connection:
            read_at: datetime = connection.execute(text("SELECT now()")).scalar_one()
            ids = stale_items(connection, encoders.space, after=after, limit=CHUNK)
            items = pl.from_arrow(read_items(connection, ids)) if ids else None
        if items is None:
            return report
        after = ids[-1]
        _embed_chunk(engine, encoders, items, read_at, report)
        progress(report.items / max(total, 1))


def _embed_chunk(
    engine: Engine, encoders: EncoderSet, items: pl.DataFrame, read_at: datetime, report: EmbeddingReport
) -> None:
    blocks = {reader.modality: _embed_modality(engine, reader, items, report) for reader in readers(encoders)}
    vectors, covered = fuse(
        **{modality.value: block.vectors for modality, block in blocks.items()},
        masks={modality: block.present for modality, block in blocks.items()},
        config=encoders.fusion,
    )
    ids = items["item_id"].to_list()
    rows = np.flatnonzero(covered)
    modalities = [[modality.value for modality in Modality if blocks[modality].present[row]] for row in rows]
    with transaction(engine) as connection:
        changed = write_vectors(
            connection, encoders.space, [ids[row] for row in rows], vectors[rows], modalities, read_at
        )
    report.items += len(ids)
    report.changed += len(changed)


def _embed_modality(
    engine: Engine, reader: ModalityReader, items: pl.DataFrame, report: EmbeddingReport
) -> ModalityVectors:
    """The modality's vectors for the items: cached ones by content hash, the others encoded once a content."""
    hashes = reader.hashes(items)
    first_row = {digest: row for row, digest in reversed(list(enumerate(hashes))) if digest is not None}
    with transaction(engine) as connection:
        known = cached_embeddings(connection, reader.version, list(first_row))
    fresh = [row for digest, row in first_row.items() if digest not in known]
    encoded = reader.encode(items[fresh]) if fresh else []
    made: dict[bytes, StoredEmbedding] = dict(zip((hashes[row] for row in fresh), encoded, strict=True))
    known |= made
    ids = items["item_id"].to_list()
    rows = [
        EmbeddingRow(ids[row], digest, known[digest].vector, known[digest].reason)
        for row, digest in enumerate(hashes)
        if digest is not None
    ]
    with transaction(engine) as connection:
        write_embeddings(connection, reader.modality.value, reader.version, rows)
    _count(report, reader.modality, rows, len(made))
    return _block(hashes, known, reader.dimension)


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
