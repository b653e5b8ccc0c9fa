"""A simulated shop on disk: what it tells the outside in one folder, the hidden truth in another."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
import polars as pl
import pyarrow.parquet as pq

from services.core.errors import InvalidInput


class FileFormat(StrEnum):
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True)
class ShopFiles:
    """Where `write` put things; `tastes` lies in a folder of its own, so that nothing of it can leak into training."""

    items: Path
    events: Path
    tastes: Path


def shop_files(folder: Path, file_format: str) -> ShopFiles:
    """The paths of a shop written under `folder`; raises InvalidInput for an unknown format."""
    if file_format not in list(FileFormat):
        raise InvalidInput(f"There is no file format {file_format!r}: choose one of {', '.join(FileFormat)}")
    shop = folder / "shop"
    return ShopFiles(
        items=shop / f"items.{file_format}",
        events=shop / f"events.{file_format}",
        tastes=folder / "hidden" / "tastes.parquet",
    )


def write_json_lines(path: Path, documents: Iterator[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for document in documents:
            file.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))


def write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Writes the frames as row groups of one file, one at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: pq.ParquetWriter | None = None
    try:
        for frame in frames:
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
