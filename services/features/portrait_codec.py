"""How a portrait is laid out in bytes: vectors in eight bits, everything else in columns, compressed with Zstandard.

What lies in columns compresses to a third of what rows do. All but the vectors comes back exactly: numbers that are
whole in units of 1e-4 or 1e-6 are stored as such integers, others as they are. Vectors are quantised symmetrically, 127
steps from zero to their largest entry: the cosine to what was packed is above 0.9999 (benchmarks/store_bytes.py).
"""

import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact

RAW_DEFLATE = -15
LEVEL, TYPICAL_BYTES, SHORTEST_MATCH = 1, 1_500, 4
"""Of Zstandard: as small as its level 3 here, and quicker (benchmarks/store_bytes.py)."""
FINE, FINEST = 10_000, 1_000_000
FARTHEST_S = 9e9
"""Times from 1970 that are whole in microseconds as far as a float tells."""
STEPS, SHORT = 127, 64
"""Steps of an eight-bit entry; vectors with fewer entries stay as they are: there is little to save, and the fewer
entries there are, the more of a cosine one rounding moves."""
AT_ONCE = 256
"""Vectors that are quantised at once: few enough for the processor's cache."""
AS_THEY_ARE, IN_STEPS = b"\x00", b"\x01"

Number = int | float


class Columns(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A portrait's fields, all but its vectors. Pairs are split into names and weights, recent items into columns:
    `recent_ages` are microseconds between `as_of` and the newest, and from each to the next older one."""

    user_id: str
    as_of: float
    newest_event: float | None
    event_count: int
    confidence: Number
    lifecycle: str
    space: str
    interest_items: list[str]
    interest_weights: list[Number]
    interest_names: list[str]
    interest_categories: list[tuple[str, ...]]
    interest_brands: list[tuple[str, ...]]
    categories: list[str]
    category_weights: list[Number]
    brands: list[str]
    brand_weights: list[Number]
    price: tuple[Number, Number, Number] | None
    behaviour: bytes
    recent_items: list[str]
    recent_types: list[str]
    recent_ages: list[Number]
    recent_weights: list[Number]
    bought: tuple[str, ...]
    hidden: tuple[str, ...]
    neighbours: list[str]
    neighbour_cosines: list[Number]
    neighbour_items: list[str]
    neighbour_scores: list[Number]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes])
_columns = msgspec.msgpack.Decoder(Columns)


class _Zstandard(threading.local):
    """A thread's own, as two threads may not use one at a time. Frames carry their content's size and nothing else."""

    def __init__(self) -> None:
        frame: dict[str, Any] = {"format": zstandard.FORMAT_ZSTD1_MAGICLESS}
        chosen = zstandard.ZstdCompressionParameters.from_level(
            LEVEL, source_size=TYPICAL_BYTES, min_match=SHORTEST_MATCH, write_checksum=False, **frame
        )
        self.compress = zstandard.ZstdCompressor(compression_params=chosen).compress
        self.decompress = zstandard.ZstdDecompressor(**frame).decompress


_zstandard = _Zstandard()


def encode(columns: Columns, long_term: bytes, short_term: bytes) -> bytes:
    """The bytes of a portrait whose vectors are `quantised`."""
    return encode_written(_encoder.encode(columns), long_term, short_term)


def encode_written(columns: bytes | memoryview, long_term: bytes | memoryview, short_term: bytes | memoryview) -> bytes:
    """As `encode`, of `Columns` that are MessagePack already."""
    return _encoder.encode((long_term, short_term, _zstandard.compress(columns)))


def encode_neighbours(users: list[str], cosines: list[Number], items: list[str], scores: list[Number]) -> bytes:
    """The MessagePack of the last four fields of `Columns`, without the head of the whole."""
    return _encoder.encode((users, cosines, items, scores))[1:]


def decode(data: bytes | memoryview) -> tuple[Columns, bytes | None, bytes | None]:
    """What `encode` was given; the vectors as near as eight bits allow.

    Raises:
        CorruptArtefact: these are not such bytes.
    """
    return _decoded(data, _zstandard.decompress)


def decode_deflated(data: bytes | memoryview) -> tuple[Columns, bytes | None, bytes | None]:
    """As `decode`, of columns that are deflated, as they were before.

    Raises:
        CorruptArtefact: these are not such bytes.
    """
    return _decoded(data, _inflated)


def _inflated(data: bytes) -> bytes:
    return zlib.decompress(data, RAW_DEFLATE)


def _decoded(
    data: bytes | memoryview, decompress: Callable[[bytes], bytes]
) -> tuple[Columns, bytes | None, bytes | None]:
    try:
        long_term, short_term, compressed = _decoder.decode(data)
        columns = _columns.decode(decompress(compressed))
        return columns, _restored(long_term), _restored(short_term)
    except (
        msgspec.DecodeError,
        zlib.error,
        zstandard.ZstdError,
        MemoryError,  # a content size that cannot be
        ValueError,  # text that is no UTF-8, a short vector
    ) as error:
        raise CorruptArtefact("A stored portrait cannot be decoded: run `portrait profiles recompute`") from error


def units(lists: Sequence[Sequence[float]], unit: int = FINE) -> list[list[Number]]:
    """Numbers as whole multiples of 1/unit where they are such, as they are where not: many lists at once."""
    flat = np.fromiter(chain.from_iterable(lists), np.float64)
    whole = np.rint(np.where(np.abs(flat) < 1e9, flat, 0) * unit)
    found: list[Number] = whole.astype(np.int64).tolist()
    for place in np.flatnonzero(whole / unit != flat).tolist():
        found[place] = float(flat[place])
    return _cut(found, lists)


def values(stored: Iterable[Number], unit: int = FINE) -> list[float]:
    """What `units` was given in one of its lists."""
    return [number / unit if type(number) is int else number for number in stored]


def ages(as_of: Sequence[float], timestamps: Sequence[Sequence[float]]) -> list[list[Number]]:
    """Of each list the differences in microseconds, from its `as_of` to the first time and on; the times themselves
    where one is not whole."""
    flat = np.fromiter(
        chain.from_iterable((first, *times) for first, times in zip(as_of, timestamps, strict=True)), float
    )
    micros = np.rint(np.where(np.abs(flat) < FARTHEST_S, flat, 0) * FINEST)
    lengths = np.array([len(times) for times in timestamps], np.int64)
    owner = np.repeat(np.arange(len(lengths)), lengths + 1)
    begins = np.cumsum(lengths + 1) - lengths - 1
    apart = micros / FINEST != flat
    apart[begins] = np.abs(flat[begins]) >= FARTHEST_S
    later = np.delete(np.arange(flat.size), begins)
    found = _cut((micros[later - 1] - micros[later]).astype(np.int64).tolist(), timestamps)
    for place in np.unique(owner[apart]).tolist():
        found[place] = [float(moment) for moment in timestamps[place]]
    return found


def moments(as_of: float, stored: Sequence[Number]) -> list[float]:
    """What `ages` was given in one of its lists."""
    if stored and type(stored[0]) is float:
        return [float(moment) for moment in stored]
    found, micros = [], round(as_of * FINEST)
    for age in stored:
        micros -= int(age)
        found.append(micros / FINEST)
    return found


def quantised(vectors: Sequence[bytes | None]) -> list[bytes]:
    """Of each vector of little-endian float16 a byte that tells which, then the entries as they are, or the largest
    absolute one and a byte an entry; empty for None."""
    found = [b"" if vector is None else AS_THEY_ARE + vector for vector in vectors]
    by_size: dict[int, list[int]] = {}
    for place, vector in enumerate(vectors):
        if vector is not None and len(vector) >= 2 * SHORT:
            by_size.setdefault(len(vector), []).append(place)
    for size, places in by_size.items():
        entries = np.frombuffer(b"".join(vectors[place] or b"" for place in places), "<f2").reshape(-1, size // 2)
        for place, row in zip(places, quantised_rows(entries), strict=True):
            found[place] = row.tobytes()
    return found


def quantised_rows(entries: NDArray[np.float32 | np.float16]) -> NDArray[np.uint8]:
    """As `quantised`, of vectors (U, D): a row of bytes each."""
    count, size = entries.shape
    if size < SHORT:
        rows = np.empty((count, 1 + 2 * size), np.uint8)
        rows[:, 0] = AS_THEY_ARE[0]
        rows[:, 1:] = entries.astype("<f2", order="C", copy=False).view(np.uint8)
        return rows
    rows = np.empty((count, 3 + size), np.uint8)
    rows[:, 0] = IN_STEPS[0]
    for start in range(0, count, AT_ONCE):
        wide = entries[start : start + AT_ONCE].astype(np.float32)
        largest = np.abs(wide).max(axis=1).astype("<f2")
        scale = np.divide(STEPS, largest, out=np.zeros(len(wide), np.float32), where=largest > 0, dtype=np.float32)
        wide *= scale[:, None]
        rows[start : start + AT_ONCE, 1:3] = largest[:, None].view(np.uint8)
        rows[start : start + AT_ONCE, 3:] = np.rint(wide, out=wide).astype(np.int8).view(np.uint8)
    return rows


def _cut(flat: list[Number], lists: Sequence[Sequence[Any]]) -> list[list[Number]]:
    """A list again for each that was joined."""
    ends = list(accumulate(map(len, lists), initial=0))
    return [flat[start:end] for start, end in pairwise(ends)]


def _restored(data: bytes) -> bytes | None:
    if not data:
        return None
    if data[:1] == AS_THEY_ARE:
        return data[1:]
    largest = np.frombuffer(data, "<f2", count=1, offset=1)[0].astype(np.float32)
    return (np.frombuffer(data, np.int8, offset=3) * (largest / STEPS)).astype("<f2").tobytes()
