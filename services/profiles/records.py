"""Many records written as MessagePack at once, straight from arrays: no object of Python per value.

A record is an array of fields, and a field of all records is a column. What a column's entries are says its kind; where
each record's begin says its row of `starts`. Numbers and heads take as few bytes as they can, as msgspec writes them.
"""

import numpy as np

from services.core.native import native

TEXT, TEXTS, NESTED, NUMBER, NUMBERS, OPTIONAL, AGES, BYTES, RAW = range(9)
"""Kinds of columns. One text, a list of them, a list of lists; one number, a list, a list that is nil where its first
is NaN; times as what lies between them; bytes; and what is MessagePack already, of as many fields as it has."""

TABLES = 9
"""How many tables of texts there are: offsets and UTF-8, as Arrow keeps them."""

NIL = 0xC0
FARTHEST_S, MICROS = 9e9, 1e6
LARGEST = 1e9

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
def _texts(out, at, kind, data, offsets, codes, start, end):
    """Write texts; bytes, or what needs no head, where the kind is such."""
    for place in range(start, end):
        first, last = offsets[codes[place]], offsets[codes[place] + 1]
        if kind == BYTES:
            at = _head(out, at, last - first, 0, -1, 0xC4)
        elif kind != RAW:
            at = _head(out, at, last - first, 0xA0, 31, 0xD9)
        for byte in range(first, last):
            out[at + byte - first] = data[byte]
        at += last - first
    return at


@native()
def _numbers(out, at, values, bits, start, end, unit):
    """Write numbers as whole ones in units of 1/unit where they are such; as they are where not, or where unit is 0."""
    for place in range(start, end):
        value = values[place]
        whole = np.rint(value * unit if abs(value) < LARGEST else 0.0)
        is_whole = unit > 0 and whole / unit == value
        at = _whole(out, at, np.int64(whole)) if is_whole else _float(out, at, bits[place])
    return at


@native()
def _micros(moment):
    return np.rint(moment * MICROS if abs(moment) < FARTHEST_S else 0.0)


@native()
def _ages(out, at, origin, moments, bits, start, end):
    """Write the microseconds from `origin` to the first moment and on, or the moments where one is not whole."""
    whole = abs(origin) < FARTHEST_S
    for place in range(start, end):
        whole &= _micros(moments[place]) / MICROS == moments[place]
    before = _micros(origin)
    for place in range(start, end):
        if whole:
            micros = _micros(moments[place])
            at = _whole(out, at, np.int64(before - micros))
            before = micros
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
        if kind in (TEXT, TEXTS, NESTED, BYTES, RAW):
            of = offsets[table]
            for code in codes[first:last]:
                room += of[code + 1] - of[code]
    return room


@native(
    "Tuple((uint8[::1], int64[::1]))(int64[:,::1], int64[:,::1], int64[::1], int64[::1], float64[::1], float64, int64, "
    f"UniTuple(Array(int32, 1, 'C', True), {TABLES}), UniTuple(Array(uint8, 1, 'C', True), {TABLES}))"
)
def records(columns, starts, inner, codes, numbers, origin, fields, offsets, texts):
    """The bytes of all records, one after the other, and (U + 1,) where each begins, and the end.

    `columns` (K, 3): kind, table and unit of each. `starts` (K, U + 1): where a record's entries begin in `codes` or
    `numbers`; of nested texts in `inner`, which says where those of each list begin in `codes`. `codes` are places in
    the column's table. `origin` is the time (epoch s) that ages are counted from, `fields` how many a record has.
    """
    users = starts.shape[1] - 1
    out = np.empty(_room(columns, starts, inner, codes, numbers, offsets), np.uint8)
    begins = np.zeros(users + 1, np.int64)
    bits = numbers.view(np.int64)
    at = 0
    for user in range(users):
        at = _list_head(out, at, fields)
        for column in range(len(columns)):
            kind, table, unit = columns[column, 0], columns[column, 1], columns[column, 2]
            start, end = starts[column, user], starts[column, user + 1]
            if kind == OPTIONAL and np.isnan(numbers[start]):
                out[at] = NIL
                at += 1
                continue
            if kind in (TEXTS, NESTED, NUMBERS, OPTIONAL, AGES):
                at = _list_head(out, at, end - start)
            if kind in (NUMBER, NUMBERS, OPTIONAL):
                at = _numbers(out, at, numbers, bits, start, end, unit)
            elif kind == AGES:
                at = _ages(out, at, origin, numbers, bits, start, end)
            elif kind == NESTED:
                for part in range(start, end):
                    at = _list_head(out, at, inner[part + 1] - inner[part])
                    at = _texts(out, at, kind, texts[table], offsets[table], codes, inner[part], inner[part + 1])
            else:
                at = _texts(out, at, kind, texts[table], offsets[table], codes, start, end)
        begins[user + 1] = at
    return out[:at], begins
