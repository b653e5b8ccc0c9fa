"""The files of an item snapshot: NumPy arrays and string columns, all memory-mapped, under one manifest.

A string column is Arrow's own layout, offsets and UTF-8 bytes, in two `.npy` files: reading it needs NumPy alone.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact

FORMAT = 4
MANIFEST = "manifest.json"
OFFSETS, BYTES = ".offsets", ".bytes"


class FileEntry(msgspec.Struct, frozen=True):
    """Size and SHA-256 (hexadecimal) of one file."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is. `created`: epoch seconds; `source`: digest of the tables it was built from."""

    format: int
    version: str
    created: float
    source: str
    count: int
    dimension: int
    space: str
    currency: str
    files: dict[str, FileEntry]
    index: dict[str, Any]


class StringColumn(Sequence[str]):
    """Text values in a memory-mapped file, decoded when asked for."""

    def __init__(self, offsets: NDArray[np.integer], data: NDArray[np.uint8]) -> None:
        self._offsets, self._data = memoryview(offsets), memoryview(data)
        self._count = offsets.size - 1

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        index = int(index) % self._count
        return str(self._data[self._offsets[index] : self._offsets[index + 1]], "utf-8")

    def __iter__(self) -> Iterator[str]:
        text, offsets = bytes(self._data), self._offsets.tolist()
        return (text[start:end].decode() for start, end in pairwise(offsets))

    def take(self, indices: NDArray[np.integer]) -> list[str]:
        """The values at these indices."""
        return [self[i] for i in indices.tolist()]

    def encoded(self, index: int) -> memoryview:
        """The UTF-8 bytes of a value, 0 ≤ index < n."""
        return self._data[self._offsets[index] : self._offsets[index + 1]]


def write_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write one array; read it with `read_array`."""
    np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def narrow(integers: NDArray[np.integer]) -> NDArray[np.signedinteger]:
    """The same numbers in int16 or int32 where that holds them all, else in int64."""
    low, high = integers.min(initial=0), integers.max(initial=0)
    kind = next(k for k in (np.int16, np.int32, np.int64) if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
    return integers.astype(kind, copy=False)


def read_array(folder: Path, name: str) -> NDArray[Any]:
    """The memory-mapped array as a plain, read-only ndarray (slicing `np.memmap` objects is slow)."""
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
    except (ValueError, OSError, EOFError) as error:
        raise CorruptArtefact(
            f"{folder / name}.npy cannot be read: ask for a new snapshot (recompute `snapshot`)"
        ) from error


def write_strings(folder: Path, name: str, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> None:
    """Write a string column of Arrow's layout; read it with `read_strings`."""
    write_array(folder, name + OFFSETS, narrow(offsets))
    write_array(folder, name + BYTES, data)


def read_strings(folder: Path, name: str) -> StringColumn:
    """A memory-mapped string column."""
    return StringColumn(read_array(folder, name + OFFSETS), read_array(folder, name + BYTES))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a snapshot whose files have the recorded sizes.

    Raises:
        CorruptArtefact: no manifest, one of another format, or a file is missing or of another size.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptArtefact(f"{folder} is no item snapshot: ask for a new one (recompute `snapshot`)") from error
    if manifest.format != FORMAT:
        raise CorruptArtefact(f"{folder} has format {manifest.format}, this version reads {FORMAT}: build a new one")
    check_sizes(folder, manifest.files, "ask for a new snapshot (recompute `snapshot`)")
    return manifest


def check_sizes(folder: Path, files: dict[str, FileEntry], cure: str) -> None:
    """Raises CorruptArtefact, which ends in the cure, when a file is missing or not of the recorded size."""
    for name, entry in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.bytes:
            raise CorruptArtefact(f"{path} is missing or cut short: {cure}")


def verify_hashes(folder: Path) -> None:
    """Read every file and compare its SHA-256 with the manifest. Raises CorruptArtefact."""
    for name, entry in read_manifest(folder).files.items():
        if file_entry(folder / name) != entry:
            raise CorruptArtefact(f"{folder / name} is damaged: ask for a new snapshot (recompute `snapshot`)")


def file_entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def file_entries(folder: Path) -> dict[str, FileEntry]:
    """Of each file of a folder, by name: what its manifest says of them."""
    return {path.name: file_entry(path) for path in sorted(folder.iterdir())}
