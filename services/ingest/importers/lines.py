"""Files of lines, a block at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

from services.core.errors import ImportFailed
from services.ingest.importers.base import BLOCK_BYTES
from services.ingest.importers.source import Source

LINE_BYTES = 64 << 20
"""A longer line is no line: probably one JSON document, or a binary file."""

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Block:
    """Consecutive lines without their ends. `first` is the number of the first, counted from 1."""

    first: int
    lines: list[bytes]


def read_blocks(source: Source, *, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The lines of a file in blocks of about `block_bytes`."""
    row, rest = 1, b""
    with source.open() as stream:
        for data in _pieces(stream, block_bytes):
            rest = rest.removeprefix(BOM) if row == 1 else rest
            data = data.removeprefix(BOM) if row == 1 and not rest else data
            end = data.rfind(b"\n")
            if end < 0:
                rest += data
                if len(rest) > LINE_BYTES:
                    raise ImportFailed(
                        f"{source.path}: row {row} is longer than {LINE_BYTES >> 20} MiB: is there one record a line?"
                    )
                continue
            lines = (rest + data[:end]).split(b"\n")
            rest = data[end + 1 :]
            yield Block(row, _without_returns(lines))
            row += len(lines)
    if rest:
        yield Block(row, _without_returns([rest]))


def _pieces(stream: BufferedReader, size: int) -> Iterator[bytes]:
    """The stream in pieces of `size`. What could be read before damage comes first, so that the row can be named."""
    while True:
        parts: list[bytes] = []
        total, failure = 0, None
        try:
            while total < size and (part := stream.read1(size - total)):
                parts.append(part)
                total += len(part)
        except ImportFailed as error:
            failure = error
        if parts:
            yield b"".join(parts)
        if failure is not None:
            raise failure
        if total < size:
            return


def decode_lines(source: Source, block: Block, encoding: str) -> list[str]:
    """The lines as text.

    Raises:
        ImportFailed: a line is not in `encoding`; the detail names its row.
    """
    try:
        return b"\n".join(block.lines).decode(encoding).split("\n")
    except UnicodeDecodeError:
        for offset, line in enumerate(block.lines):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                raise wrong_encoding(source, block.first + offset, encoding) from error
        raise


def wrong_encoding(source: Source, row: int | None, encoding: str) -> ImportFailed:
    """The failure of a file that is not in the encoding it was read with."""
    where = f"row {row} is" if row is not None else "it is"
    return ImportFailed(
        f"{source.path}: {where} not {encoding}: name the file's encoding, for example --encoding latin-1 or gb18030"
    )


def _without_returns(lines: list[bytes]) -> list[bytes]:
    return [line.removesuffix(b"\r") for line in lines] if any(line.endswith(b"\r") for line in lines[:1]) else lines
