"""Many records written as MessagePack at once, straight from arrays: no object of Python per value.

A record is an array of fields, and a field of all records is a column. What a column's entries are says its kind; where
each record's begin says its row of `starts`. Numbers and heads take as few bytes as they can, as msgspec writes them.
"""

import numpy as np

from services.core.native import native

TEXT, TEXTS, NESTED, NUMBER, NUMBERS, GAPPED, OPTIONAL, FALLING, AGES = range(9)
"""Kinds of columns. One text, a list of them, a list of lists; one number, a list, a list with nil for NaN, a list that
is nil where its first is NaN; and what `services.features.portrait_codec` calls falling numbers and ages."""

TABLES = 9
"""How many tables of texts there are: offsets and UTF-8, as Arrow keeps them."""

NIL = 0xC0
LARGEST, FARTHEST_S = 1e9, 9e9
"""As `portrait_codec` has them. Not its own: a change there would not have this compiled again."""

HEAD, NUMBER_BYTES = 5, 9
"""The most bytes that the head of a list or a text, and a number with its head, take."""


@native()
def _whole(out, at, value):
    """Write a whole number; the place after it."""
    if value >= 0:
        if value < 128:
            out[at] = value
            return at + 1
        size = 1 if value < 1 << 8 else 2 if value < 1 << 16 else 4 if value < 1 << 32 else 8
        kind = 0xCC
    else:
        if value >= -32:
            out[at] = value + 256
            return at + 1
        size = 1 if value >= -(1 << 7) else 2 if value >= -(1 << 15) else 4 if value >= -(1 << 31) else 8
        kind = 0xD0
    out[at] = kind + (0 if size == 1 else 1 if size == 2 else 2 if size == 4 else 3)
    return _big_endian(out, at + 1, value, size)


@native()
def _big_endian(out, at, value, size):
    for place in range(size):
        out[at + place] = (value >> (8 * (size - 1 - place))) & 0xFF
    return at + size


@native()
def _float(out, at, bits):
    out[at] = 0xCB
    return _big_endian(out, at + 1, bits, 8)


@native()
def _head(out, at, count, small, most, wide):
    """Write how many bytes follow: in one byte with `small` where they are at most `most`, else behind the byte for one
    byte, `wide`, or those after it for two and four."""
    if count <= most:
        out[at] = small + count
        return at + 1
    size = 1 if count < 1 << 8 else 2 if count < 1 << 16 else 4
    out[at] = wide + (size >> 1)
    return _big_endian(out, at + 1, count, size)


@native()
def _list_head(out, at, count):
    if count < 16:
        out[at] = 0x90 + count
        return at + 1
    size = 2 if count < 1 << 16 else 4
    out[at] = 0xDC + (size >> 2)
    return _big_endian(out, at + 1, count, size)


@native()
def _texts(out, at, data, offsets, codes, start, end):
    for place in range(start, end):
        first, last = offsets[codes[place]], offsets[codes[place] + 1]
        at = _head(out, at, last - first, 0xA0, 31, 0xD9)
        to, begin = np.uint64(at), np.uint64(first)  # no place is counted from the end
        for byte in range(np.uint64(last - first)):
            out[to + byte] = data[begin + byte]
        at += last - first
    return at


@native()
def _rounded(value, unit, most):
    return np.rint(value * unit if abs(value) < most else 0.0)


@native()
def _numbers(out, at, values, bits, start, end, unit, gapped):
    """Write numbers as whole ones in units of 1/unit where they are such; as they are where not, or where unit is 0."""
    for place in range(start, end):
        whole = _rounded(values[place], unit, LARGEST)
        if bits[place] == 0 and unit > 0:
            out[at] = 0
            at += 1
        elif unit > 0 and whole / unit == values[place]:
            at = _whole(out, at, np.int64(whole))
        elif gapped and np.isnan(values[place]):
            out[at] = NIL
            at += 1
        else:
            at = _float(out, at, bits[place])
    return at


@native()
def _falling(out, at, values, bits, start, end, unit, origin, ages):
    """Write by how much each number is below the one before, in units of 1/unit, first the first itself or, of `ages`,
    by how much it is below the origin; the numbers themselves where one is not whole."""
    most = FARTHEST_S if ages else LARGEST
    before = _rounded(origin, unit, most) if ages else 2 * _rounded(values[start], unit, most)
    whole = not ages or abs(origin) < most
    for place in range(start, end):
        whole &= _rounded(values[place], unit, most) / unit == values[place]
    for place in range(start, end):
        if whole:
            now = _rounded(values[place], unit, most)
            at = _whole(out, at, np.int64(before - now))
            before = now
        else:
            at = _float(out, at, bits[place])
    return at


@native()
def _room(columns, starts, inner, codes, numbers, offsets):
    """The most bytes that the records can take."""
    users = starts.shape[1] - 1
    room = NUMBER_BYTES * len(numbers) + HEAD * (len(codes) + len(inner) + users * (len(columns) + 1))
    for column in range(len(columns)):
        kind, table = columns[column, 0], columns[column, 1]
        first, last = starts[column, 0], starts[column, users]
        if kind == NESTED:
            first, last = inner[first], inner[last]
        if kind in (TEXT, TEXTS, NESTED):
            of = offsets[table]
            for code in codes[first:last]:
                room += of[code + 1] - of[code]
    return room


@native(
    "Tuple((uint8[::1], int64[::1]))(int64[:,::1], int64[:,::1], int64[::1], int64[::1], float64[::1], float64, "
    f"UniTuple(Array(int32, 1, 'C', True), {TABLES}), UniTuple(Array(uint8, 1, 'C', True), {TABLES}))"
)
def records(columns, starts, inner, codes, numbers, origin, offsets, texts):
    """The bytes of all records, one after the other, and (U + 1,) where each begins, and the end.

    `columns` (K, 3): kind, table and unit of each. `starts` (K, U + 1): where a record's entries begin in `codes` or
    `numbers`; of nested texts in `inner`, which says where those of each list begin in `codes`. `codes` are places in
    the column's table. `origin` is the time (epoch s) that ages are counted from.
    """
    users = starts.shape[1] - 1
    out = np.empty(_room(columns, starts, inner, codes, numbers, offsets), np.uint8)
    begins = np.zeros(users + 1, np.int64)
    bits = numbers.view(np.int64)
    at = 0
    for user in range(users):
        at = _list_head(out, at, len(columns))
        for column in range(len(columns)):
            kind, table, unit = columns[column, 0], columns[column, 1], columns[column, 2]
            start, end = starts[column, user], starts[column, user + 1]
            if kind == OPTIONAL and np.isnan(numbers[start]):
                out[at] = NIL
                at += 1
                continue
            if kind not in (TEXT, NUMBER):
                at = _list_head(out, at, end - start)
            if kind in (TEXT, TEXTS, NESTED):
                data, of = texts[table], offsets[table]
                for part in range(start, end if kind == NESTED else start + 1):
                    first, last = start, end
                    if kind == NESTED:
                        first, last = inner[part], inner[part + 1]
                        at = _list_head(out, at, last - first)
                    at = _texts(out, at, data, of, codes, first, last)
            elif kind == AGES or (kind == FALLING and start < end):
                at = _falling(out, at, numbers, bits, start, end, unit, origin, kind == AGES)
            else:
                at = _numbers(out, at, numbers, bits, start, end, unit, kind == GAPPED)
        begins[user + 1] = at
    return out[:at], begins
