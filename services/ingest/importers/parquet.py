"""Parquet files, a row group's part at a time."""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from services.core.errors import ImportFailed
from services.ingest.importers.base import CHUNK_ROWS, ROW, Chunk, ImportOptions, Kind
from services.ingest.importers.mapping import mapped, resolve
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

MAGIC = b"PAR1"


class Parquet:
    """Columns with our names or mapped to them; types are kept where they fit."""

    format = "parquet"
    description = "Parquet; name columns with --map OURS=THEIRS"
    rating_scale = RatingScale()
    identity = ()

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def recognises(self, head: Head) -> bool:
        return head.data.startswith(MAGIC)

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        rows = 0
        with source.open() as stream:
            try:
                file = pq.ParquetFile(stream)
                found = resolve(self.kind, file.schema_arrow.names, options, source.path)
                wanted = list(dict.fromkeys(found.values()))
                for batch in file.iter_batches(batch_size=CHUNK_ROWS, columns=wanted, use_threads=False):
                    frame = pl.from_arrow(pa.Table.from_batches([batch]))
                    numbers = pl.int_range(rows + 1, rows + 1 + frame.height, dtype=pl.Int64, eager=True)
                    rows += frame.height
                    yield Chunk(mapped(frame.with_columns(numbers.alias(ROW)), found, options, self.kind), rows)
            except (pa.ArrowInvalid, OSError) as error:
                raise ImportFailed(
                    f"{source.path}: after row {rows}: not a whole Parquet file ({error}): copy or write it again"
                ) from error
