"""A file to import: opened (gzip or plain), counted as it is read, its damage reported with a cure."""

import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from services.core.errors import ImportFailed

HEAD_BYTES = 1 << 16
BUFFER_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ARCHIVES = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


@dataclass(frozen=True)
class Head:
    """The name and the first 64 KiB (decompressed) of a file: what formats are recognised by."""

    name: str
    data: bytes

    @property
    def lines(self) -> list[str]:
        """The complete lines among the first bytes (all of them, if there is no line end)."""
        text = self.data.decode("utf-8", "replace").removeprefix("\ufeff")
        lines = text.splitlines()
        return lines[:-1] if len(lines) > 1 and len(self.data) >= HEAD_BYTES else lines


class Source:
    """One file. `position` and `size` are bytes as they lie on the disk, for progress."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self._raw: io.BufferedReader | None = None
        try:
            self.size = self.path.stat().st_size
            with self.path.open("rb") as file:
                magic = file.read(6)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ImportFailed(f"{self.path}: cannot be read ({reason}): check the path and its permissions") from error
        if self.size == 0:
            raise ImportFailed(f"{self.path}: the file is empty: nothing to import")
        for prefix, kind in ARCHIVES.items():
            if magic.startswith(prefix):
                raise ImportFailed(f"{self.path}: is a {kind} archive: unpack it first (gzip is read as it is)")
        self.compressed = magic.startswith(GZIP_MAGIC)

    @property
    def position(self) -> int:
        """How many bytes of the file have been read. May be asked from another thread than the reader's."""
        try:
            return self._raw.tell() if self._raw is not None else 0
        except ValueError:  # closed: read to its end
            return self.size

    def head(self) -> Head:
        """The beginning of the content. Raises ImportFailed if that is damaged already."""
        with self.open() as stream:
            data = stream.read(HEAD_BYTES)
        if not data.strip():
            raise ImportFailed(f"{self.path}: the file holds nothing but white space: nothing to import")
        return Head(self.name, data)

    def open(self) -> io.BufferedReader:
        """The decompressed content as a binary stream whose `read` raises ImportFailed on damage."""
        self._raw = self.path.open("rb", buffering=BUFFER_BYTES)
        if not self.compressed:
            return self._raw
        inner = gzip.GzipFile(fileobj=self._raw, mode="rb")
        return io.BufferedReader(_Gunzip(inner, self._raw, self.path), BUFFER_BYTES)


class _Gunzip(io.RawIOBase):
    """A gzip stream whose damage is an ImportFailed."""

    def __init__(self, inner: gzip.GzipFile, raw: BinaryIO, path: Path) -> None:
        self._inner, self._file, self._path = inner, raw, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            data = self._inner.read1(len(buffer))
        except EOFError as error:
            raise ImportFailed(
                f"{self._path}: the gzip stream ends early: the file was cut off; copy or download it again"
            ) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ImportFailed(
                f"{self._path}: the gzip stream is damaged ({error}); copy or download it again"
            ) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
            self._file.close()
        super().close()
