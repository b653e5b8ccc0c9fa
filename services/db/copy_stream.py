"""The reading half of COPY: PostgreSQL's CSV as Arrow record batches."""

import io
import threading
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
from pyarrow import csv

ARROW_TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "xid8": pa.uint64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "numeric": pa.float64(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
}
"""Arrow type of a PostgreSQL type; what is not here comes out as a string (arrays and bytea: see `decoded`)."""

ARRAY_TYPES: dict[str, tuple[pl.DataType, pa.DataType]] = {
    "text[]": (pl.List(pl.String), pa.list_(pa.string())),
    "int4[]": (pl.List(pl.Int32), pa.list_(pa.int32())),
    "int8[]": (pl.List(pl.Int64), pa.list_(pa.int64())),
    "float4[]": (pl.List(pl.Float32), pa.list_(pa.float32())),
    "float8[]": (pl.List(pl.Float64), pa.list_(pa.float64())),
}
"""How an array, which travels as JSON, is read."""


def csv_reader(stream: io.BufferedIOBase, names: list[str], types: list[str], block_bytes: int) -> Any:
    return csv.open_csv(
        stream,
        read_options=csv.ReadOptions(column_names=names, block_size=block_bytes),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=len(names) > 1),
        convert_options=csv.ConvertOptions(
            column_types={n: ARROW_TYPES.get(t, pa.string()) for n, t in zip(names, types, strict=True)},
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def empty(names: list[str], types: list[str]) -> pa.RecordBatch:
    arrays = [pa.array([], ARROW_TYPES.get(kind, pa.string())) for kind in types]
    return pa.RecordBatch.from_arrays(arrays, names)


def decoded(batch: pa.RecordBatch, names: list[str], types: list[str]) -> pa.RecordBatch:
    """Arrays and bytea from the text they travelled as."""
    for index, (name, kind) in enumerate(zip(names, types, strict=True)):
        if kind not in ARRAY_TYPES and kind != "bytea":
            continue
        text = pl.Series(name, batch.column(index), dtype=pl.String)
        decoded = text.str.decode("hex") if kind == "bytea" else text.str.json_decode(ARRAY_TYPES[kind][0])
        target = pa.binary() if kind == "bytea" else ARRAY_TYPES[kind][1]
        batch = batch.set_column(index, name, decoded.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(target))
    return batch


class CopyReader(io.RawIOBase):
    """A COPY … TO STDOUT as a readable binary stream. Arrow reads ahead from a thread of its own: see `stop`."""

    def __init__(self, copy: psycopg.Copy) -> None:
        self._copy = copy
        self._rest = memoryview(b"")
        self._lock = threading.Lock()
        self._stopped = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of `buffer` as possible: many rows a call, because the server sends one row a message."""
        with self._lock:
            return 0 if self._stopped else self._fill(buffer)

    def stop(self) -> None:
        """End the stream: once this returns, no thread touches the connection any more."""
        with self._lock:
            self._stopped = True

    def _fill(self, buffer: Any) -> int:
        filled = 0
        while filled < len(buffer):
            if not self._rest:
                self._rest = memoryview(self._copy.read())
                if not self._rest:
                    break
            count = min(len(self._rest), len(buffer) - filled)
            buffer[filled : filled + count] = self._rest[:count]
            self._rest = self._rest[count:]
            filled += count
        return filled
