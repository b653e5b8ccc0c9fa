"""How a portrait is laid out in bytes: vectors in eight bits, everything else in columns, compressed with Zstandard.

What lies in columns compresses to half of what rows do. All but the vectors comes back exactly: numbers that are whole
in units of 1e-4 or 1e-6 are stored as such integers, others as they are; of weights in order only by how much they
fall. Vectors are quantised symmetrically, 127 steps from zero to their largest entry: the cosine to what was packed is
above 0.9999 (benchmarks/store_bytes.py).

`services.profiles.packing` writes the same without an object a value.
"""

import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from operator import sub
from typing import Any

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from services.core.errors import CorruptArtefact
from services.core.types import EventType

LEVEL, SHORTEST_MATCH = -1, 4
"""Of Zstandard: no Huffman codes, which take half of the time and save a tenth of the bytes."""
RAW_DEFLATE = -15
FINE, FINEST = 10_000, 1_000_000
LARGEST = 1e9
"""Numbers up to here are whole in units of 1e-6 as far as a float tells."""
FARTHEST_S = 9e9
"""Times from 1970 that are whole in microseconds as far as a float tells."""
STEPS, SHORT = 127, 64
"""Steps of an eight-bit entry; vectors with fewer entries stay as they are: there is little to save, and the fewer
entries there are, the more of a cosine one rounding moves."""
AT_ONCE = 256
"""Vectors that are quantised at once: few enough for the processor's cache."""
AS_THEY_ARE, IN_STEPS = b"\x00", b"\x01"

TYPES = (
    EventType.IMPRESSION.value,
    EventType.VIEW.value,
    EventType.CLICK.value,
    EventType.FAVOURITE.value,
    EventType.HIDE.value,
    EventType.CART.value,
    EventType.PURCHASE.value,
    EventType.RATING.value,
    EventType.REVIEW.value,
    EventType.SEARCH.value,
)
"""Stored as their places here, which are for good: a new one goes to the end."""

Number = int | float


class Columns(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A portrait's fields, all but its vectors. Pairs are split into names and weights, recent items into columns:
    `recent_ages` are microseconds between `as_of` and the newest, and from each to the next older one. Weights of
    interests, categories, brands and neighbours are `falling`; `behaviour` is `numbers_of` its bytes. In what is
    deflated weights, types and `behaviour` are as the portrait has them."""

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
    behaviour: bytes | list[Number | None]
    recent_items: list[str]
    recent_types: list[int | str]
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
            LEVEL, min_match=SHORTEST_MATCH, write_checksum=False, **frame
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


def units(numbers: Iterable[float], unit: int = FINE) -> list[Number]:
    """Numbers as whole multiples of 1/unit where they are such, as they are where not."""
    return [_in_units(number, unit) for number in numbers]


def _in_units(number: float, unit: int) -> Number:
    whole = round(number * unit) if abs(number) < LARGEST else 0
    return whole if whole / unit == number else float(number)


def values(stored: Iterable[Number], unit: int = FINE) -> list[float]:
    """What `units` was given."""
    return [number / unit if type(number) is int else number for number in stored]


def falling(numbers: Sequence[float], unit: int = FINE) -> list[Number]:
    """The first number and by how much each is below the one before, in units; the numbers themselves where one is not
    whole."""
    whole = units(numbers, unit)
    if any(type(number) is float for number in whole):
        return [float(number) for number in numbers]
    return [*whole[:1], *(before - number for before, number in pairwise(whole))]


def fallen(stored: Sequence[Number], unit: int = FINE) -> list[float]:
    """What `falling` was given."""
    if stored and type(stored[0]) is float:
        return [float(number) for number in stored]
    return [whole / unit for whole in accumulate(stored, sub)]


def ages(as_of: float, times: Sequence[float]) -> list[Number]:
    """The microseconds from `as_of` back to the first time and on; the times themselves where one is not whole."""
    micros = [round(moment * FINEST) if abs(moment) < FARTHEST_S else 0 for moment in (as_of, *times)]
    if abs(as_of) < FARTHEST_S and all(
        whole / FINEST == moment for whole, moment in zip(micros[1:], times, strict=True)
    ):
        return [before - moment for before, moment in pairwise(micros)]
    return [float(moment) for moment in times]


def moments(as_of: float, stored: Sequence[Number]) -> list[float]:
    """What `ages` was given."""
    if stored and type(stored[0]) is float:
        return [float(moment) for moment in stored]
    found, micros = [], round(as_of * FINEST)
    for age in stored:
        micros -= int(age)
        found.append(micros / FINEST)
    return found


def numbers_of(data: bytes) -> bytes | list[Number | None]:
    """The numbers of little-endian float32, None for NaN; `data` itself where that would not bring it back."""
    if len(data) % 4:
        return data
    read = np.frombuffer(data, "<f4").tolist()
    found = [None if number != number else _in_units(number, 1) for number in read]
    return found if bytes_of(found) == data else data


def bytes_of(stored: bytes | list[Number | None]) -> bytes:
    """What `numbers_of` was given."""
    return stored if isinstance(stored, bytes) else np.array(stored, "<f4").tobytes()


def quantised(vector: bytes | None) -> bytes:
    """Of a vector of little-endian float16 a byte that tells which, then the entries as they are, or the largest
    absolute one and a byte an entry; empty for None."""
    return b"" if vector is None else quantised_rows(np.frombuffer(vector, "<f2")[None]).tobytes()


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


def _restored(data: bytes) -> bytes | None:
    if not data:
        return None
    if data[:1] == AS_THEY_ARE:
        return data[1:]
    largest = np.frombuffer(data, "<f2", count=1, offset=1)[0].astype(np.float32)
    return (np.frombuffer(data, np.int8, offset=3) * (largest / STEPS)).astype("<f2").tobytes()
