"""CSV and TSV with any header, in chunks of text columns."""

import codecs
import csv as python_csv
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pyarrow as pa
from pyarrow import csv

from services.core.errors import ImportFailed, InvalidInput
from services.ingest.importers.base import BLOCK_BYTES, ROW, Chunk, ImportOptions, Kind, Unreadable
from services.ingest.importers.lines import decode_lines, read_blocks, wrong_encoding
from services.ingest.importers.mapping import mapped, resolve
from services.ingest.importers.source import Head, Source
from services.ingest.rules.ratings import RatingScale

ORIGINAL_LENGTH = 1_000


class Delimited:
    """A CSV or TSV file whose columns have our names or are mapped to them."""

    rating_scale = RatingScale()
    identity = ()

    def __init__(self, format: str, kind: Kind, delimiter: str) -> None:
        self.format, self.kind, self.delimiter = format, kind, delimiter
        self.description = f"{format.upper()} with a header; name columns with --map OURS=THEIRS"

    def recognises(self, head: Head) -> bool:
        line = head.lines[0]
        return self.delimiter in line and not line.lstrip().startswith(("{", "["))

    def read(self, source: Source, options: ImportOptions) -> Iterator[Chunk]:
        options = replace(options, delimiter=options.delimiter or self.delimiter)
        found = None
        for chunk in read_delimited(source, options):
            columns = [name for name in chunk.frame.columns if name != ROW]
            found = found or resolve(self.kind, columns, options, source.path)
            yield Chunk(mapped(chunk.frame, found, options, self.kind), chunk.rows, chunk.unreadable)


def read_delimited(source: Source, options: ImportOptions) -> Iterator[Chunk]:
    """All columns as text, under the file's names, with `ROW`. An empty field is null unless it is quoted.

    Raises:
        ImportFailed: not CSV, or not in the encoding named.
    """
    encoding = options.encoding or "utf-8"
    bad: list[Unreadable] = []

    def on_bad_row(row: csv.InvalidRow) -> str:
        if row.text.count('"') % 2:
            return "error"  # a quote that never closes has swallowed the rest of the file
        message = f"has {row.actual_columns} fields where the header has {row.expected_columns}: quote or fix the row"
        bad.append(Unreadable(row.number, message, row.text[:ORIGINAL_LENGTH]))
        return "skip"

    with source.open() as stream:
        last, done = (1 if options.header else 0), 0
        try:
            reader = _open(stream, options, encoding, on_bad_row)
            for batch in reader:
                skipped = bad[done:]
                done = len(bad)
                rows = _numbers(last, batch.num_rows, [entry.row for entry in skipped])
                last = max(last + batch.num_rows + len(skipped), last)
                frame = pl.from_arrow(batch).with_columns(pl.Series(ROW, rows, dtype=pl.Int64))
                yield Chunk(frame, last, skipped)
        except InvalidInput as error:
            raise ImportFailed(f"{source.path}: {error.detail}") from error
        except UnicodeDecodeError as error:
            raise _undecodable(source, encoding) from error
        except LookupError as error:
            raise ImportFailed(
                f"{source.path}: {encoding} is no known encoding: try utf-8, latin-1 or gb18030"
            ) from error
        except pa.ArrowInvalid as error:
            raise _failure(source, str(error), last, encoding) from error
        if done < len(bad):
            yield Chunk(
                pl.DataFrame(schema={**dict.fromkeys(reader.schema.names, pl.String), ROW: pl.Int64}), last, bad[done:]
            )


def _open(
    stream: io.BufferedReader, options: ImportOptions, encoding: str, on_bad_row: object
) -> csv.CSVStreamingReader:
    delimiter = options.delimiter or ","
    read = csv.ReadOptions(
        block_size=BLOCK_BYTES, encoding=encoding, use_threads=False, autogenerate_column_names=not options.header
    )
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=on_bad_row)
    names = _column_names(stream, options, encoding, delimiter)
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    return csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=convert)


def _column_names(stream: io.BufferedReader, options: ImportOptions, encoding: str, delimiter: str) -> list[str]:
    """The header's names (f0, f1, … without one), so that every column can be read as text."""
    head = codecs.getincrementaldecoder(encoding)().decode(stream.peek(1 << 16)).removeprefix("\ufeff")
    first = next(python_csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    names = first if options.header else [f"f{index}" for index in range(len(first))]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InvalidInput(
            f"row 1, the header, has two columns named {repeated[0]!r}: rename one, or use --no-header and positions"
        )
    return names


def _numbers(last: int, count: int, skipped: list[int]) -> pl.Series:
    """Row numbers of `count` good rows after row `last`, with the numbers of skipped rows left out."""
    numbers = pl.Series(range(last + 1, last + 1 + count + len(skipped)), dtype=pl.Int64)
    return numbers.filter(~numbers.is_in(skipped)).head(count) if skipped else numbers


def _undecodable(source: Source, encoding: str) -> ImportFailed:
    """Find the first line that is not in the encoding, by reading the file once more."""
    for block in read_blocks(source):
        try:
            decode_lines(source, block, encoding)
        except ImportFailed as failure:
            return failure
    return wrong_encoding(source, None, encoding)


def _failure(source: Source, error: str, last: int, encoding: str) -> ImportFailed:
    if "UTF8" in error or "UTF-8" in error:
        return _undecodable(source, encoding)
    if "straddling" in error or "Expected" in error:
        return ImportFailed(
            f"{source.path}: after row {last} a quoted field does not end: close the quote, or check --delimiter"
        )
    return ImportFailed(f"{source.path}: after row {last}: {error}: check that it is CSV and its delimiter")
