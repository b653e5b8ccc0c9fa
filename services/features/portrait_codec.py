"""How a portrait is laid out in bytes: vectors in eight bits, everything else in columns, deflated.

What lies in columns compresses to a third of what rows do. All but the vectors comes back exactly: numbers that are
whole in units of 1e-4 or 1e-6 are stored as such integers, others as they are. Vectors are quantised symmetrically, 127
steps from zero to their largest entry: the cosine to what was packed is above 0.9999 (benchmarks/store_bytes.py).
"""

import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from services.core.errors import CorruptArtefact

LEVEL, RAW = 6, -15
FINE, FINEST = 10_000, 1_000_000
STEPS, SHORT = 127, 64
"""Steps of an eight-bit entry; vectors with fewer entries stay as they are: there is little to save, and the fewer
entries there are, the more of a cosine one rounding moves."""
AS_THEY_ARE, IN_STEPS = b"\x00", b"\x01"

Number = int | float


class Columns(msgspec.Struct, array_like=True, frozen=True):
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


def encode(columns: Columns, long_term: bytes | None, short_term: bytes | None) -> bytes:
    """The bytes of a portrait whose vectors are little-endian float16."""
    deflated = zlib.compress(_encoder.encode(columns), LEVEL, RAW)
    return _encoder.encode((_quantised(long_term), _quantised(short_term), deflated))


def decode(data: bytes | memoryview) -> tuple[Columns, bytes | None, bytes | None]:
    """What `encode` was given; the vectors as near as eight bits allow.

    Raises:
        CorruptArtefact: these are not such bytes.
    """
    try:
        long_term, short_term, deflated = _decoder.decode(data)
        columns = _columns.decode(zlib.decompress(deflated, RAW))
        return columns, _restored(long_term), _restored(short_term)
    except (msgspec.DecodeError, zlib.error, ValueError) as error:  # ValueError: text that is no UTF-8, a short vector
        raise CorruptArtefact("A stored portrait cannot be decoded: run `portrait profiles recompute`") from error


def units(values: Iterable[float], unit: int = FINE) -> list[Number]:
    """Numbers as whole multiples of 1/unit where they are such, as they are where not."""
    found: list[Number] = []
    for value in values:
        whole = round(value * unit) if -1e9 < value < 1e9 else 0
        found.append(whole if whole / unit == value else float(value))
    return found


def values(stored: Iterable[Number], unit: int = FINE) -> list[float]:
    """What `units` was given."""
    return [number / unit if type(number) is int else number for number in stored]


def ages(as_of: float, timestamps: Sequence[float]) -> list[Number]:
    """Differences in microseconds, from `as_of` to the first and on; the timestamps themselves where not whole."""
    micros = [round(moment * FINEST) for moment in (as_of, *timestamps)]
    if any(whole / FINEST != moment for whole, moment in zip(micros[1:], timestamps, strict=True)):
        return [float(moment) for moment in timestamps]
    return [before - after for before, after in pairwise(micros)]


def moments(as_of: float, stored: Sequence[Number]) -> list[float]:
    """What `ages` was given."""
    if stored and type(stored[0]) is float:
        return [float(moment) for moment in stored]
    found, micros = [], round(as_of * FINEST)
    for age in stored:
        micros -= int(age)
        found.append(micros / FINEST)
    return found


def _quantised(vector: bytes | None) -> bytes:
    """A byte that tells which, then the float16 entries as they are, or the largest absolute one and a byte an entry;
    empty for None."""
    if vector is None:
        return b""
    entries = np.frombuffer(vector, "<f2")
    if entries.size < SHORT:
        return AS_THEY_ARE + vector
    largest = np.abs(entries).max(initial=np.float16(0))
    scale = STEPS / np.float32(largest) if largest else np.float32(0)
    steps = np.rint(entries.astype(np.float32) * scale).astype(np.int8)
    return IN_STEPS + largest.astype("<f2").tobytes() + steps.tobytes()


def _restored(data: bytes) -> bytes | None:
    if not data:
        return None
    if data[:1] == AS_THEY_ARE:
        return data[1:]
    largest = np.frombuffer(data, "<f2", count=1, offset=1)[0].astype(np.float32)
    return (np.frombuffer(data, np.int8, offset=3) * (largest / STEPS)).astype("<f2").tobytes()
