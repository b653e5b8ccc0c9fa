"""Packed portraits straight from arrays: what `services.features.portrait.pack` makes of each as an object."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.core.types import Lifecycle
from services.features import portrait_codec as codec
from services.features.portrait import packed_columns
from services.profiles.arrow_texts import Texts, as_texts, texts_of
from services.profiles.events import TYPES
from services.profiles.near import NOBODY, Neighbours
from services.profiles.portrait_columns import PortraitColumns
from services.profiles.ranked import SparseRows
from services.profiles.records import (
    AGES,
    BYTES,
    NESTED,
    NUMBER,
    NUMBERS,
    OPTIONAL,
    RAW,
    TEXT,
    TEXTS,
    records,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WORDS = ("", *TYPES, *Lifecycle)
"""The texts that any portrait may hold; the vector space comes after them."""
FIRST_TYPE, SPACE = 1, len(WORDS)
LIFECYCLE = {name: 1 + len(TYPES) + code for code, name in enumerate(Lifecycle)}

WORD, USER, ITEM, CATALOGUE_ITEM, CATEGORY, BRAND, NAME, BEHAVIOUR, NEIGHBOURS = range(9)
"""The tables of texts, in the order of `_tables`."""

_WORDS = "".join(WORDS).encode()
_ENDS = np.cumsum([0, *(len(word.encode()) for word in WORDS)])
_NOBODYS = codec.encode_neighbours([], [], [], [])


class _Records:
    """The columns of records of U users, put together for `records`."""

    def __init__(self, users: int) -> None:
        self.each = np.arange(users + 1)
        self.columns: list[tuple[int, int, int]] = []
        self.starts: list[Ints] = []
        self.codes: list[Ints] = []
        self.numbers: list[Floats] = []
        self.inner: list[Ints] = []
        self._codes = self._numbers = self._inner = 0

    def text(self, codes: Ints, table: int, kind: int = TEXT) -> None:
        """A column of one text a user."""
        self.texts(self.each, codes, table, kind)

    def texts(self, starts: Ints, codes: Ints, table: int, kind: int = TEXTS) -> None:
        """A column of lists of texts."""
        self._add(kind, table, 0, starts + self._codes)
        self.codes.append(codes)
        self._codes += len(codes)

    def nested(self, starts: Ints, lists: SparseRows, table: int) -> None:
        """A column of lists of lists: those at `starts[u]:starts[u + 1]`, whose entries are codes."""
        self._add(NESTED, table, 0, starts + self._inner)
        self.inner.append(lists.indptr + self._codes)
        self._inner += len(lists.indptr)
        self.codes.append(lists.columns)
        self._codes += len(lists.columns)

    def numbers_of(self, starts: Ints, values: Floats, unit: int = codec.FINE, kind: int = NUMBERS) -> None:
        """A column of lists of numbers."""
        self._add(kind, 0, unit, starts + self._numbers)
        self.numbers.append(values)
        self._numbers += len(values)

    def number(self, values: NDArray, unit: int) -> None:
        """A column of one number a user, a whole one where `unit` is 1, as it is where 0."""
        self.numbers_of(self.each, values, unit, NUMBER)

    def _add(self, kind: int, table: int, unit: int, starts: Ints) -> None:
        self.columns.append((kind, table, unit))
        self.starts.append(starts)

    def written(self, origin: float, tables: Sequence[Texts]) -> tuple[NDArray[np.uint8], Ints]:
        """The bytes of all records and where each begins."""
        offsets, texts = zip(*tables, strict=True)
        return records(
            np.array(self.columns, np.int64),
            np.stack(self.starts).astype(np.int64, copy=False),
            np.concatenate(self.inner, dtype=np.int64),
            np.concatenate(self.codes, dtype=np.int64),
            np.concatenate(self.numbers, dtype=np.float64),
            origin,
            len(codec.Columns.__struct_fields__),
            offsets,
            texts,
        )


def packed(found: PortraitColumns) -> list[bytes]:
    """The packed form of each portrait."""
    written, begins = _columns(found).written(found.as_of, _tables(found))
    view, ends = memoryview(written), begins.tolist()
    rows = zip(
        ends[:-1],
        ends[1:],
        _vectors(found.long_term, found.has_vector),
        _vectors(found.short_term, found.has_vector),
        strict=True,
    )
    return [packed_columns(view[start:end], long_term, short_term) for start, end, long_term, short_term in rows]


def _vectors(matrix: NDArray[np.float32], known: NDArray[np.bool_]) -> list[memoryview]:
    """Each user's vector quantised, nothing where there is none."""
    rows = codec.quantised_rows(matrix)
    flat, size = memoryview(rows.ravel()), rows.shape[1]
    return [flat[size * row : size * (row + has)] for row, has in enumerate(known.tolist())]


def _columns(found: PortraitColumns) -> _Records:
    """The columns in the order of `codec.Columns`."""
    all_, recent, interests, names = _Records(found.users), found.recent, found.interests, found.interests.names
    each = np.arange(found.users)
    all_.text(each, USER)
    all_.number(np.full(found.users, found.as_of), 0)
    all_.number(found.newest, 0)
    all_.number(found.event_count, 1)
    all_.number(found.confidence, codec.FINE)
    all_.text(np.fromiter(map(LIFECYCLE.__getitem__, found.lifecycle), np.int64, found.users), WORD)
    all_.text(found.has_vector * SPACE, WORD)
    all_.texts(interests.starts, interests.medoid, CATALOGUE_ITEM)
    all_.numbers_of(interests.starts, interests.weight)
    all_.texts(interests.starts, np.arange(len(interests.medoid)), NAME)
    all_.nested(interests.starts, names.categories, CATEGORY)
    all_.nested(interests.starts, names.brands, BRAND)
    for pairs, table in ((found.categories, CATEGORY), (found.brands, BRAND)):
        all_.texts(pairs.indptr, pairs.columns, table)
        all_.numbers_of(pairs.indptr, pairs.values.round(4))
    all_.numbers_of(3 * all_.each, found.price.ravel(), kind=OPTIONAL)
    all_.text(each, BEHAVIOUR, BYTES)
    all_.texts(recent.starts, recent.item, ITEM)
    all_.texts(recent.starts, recent.type + FIRST_TYPE, WORD)
    all_.numbers_of(recent.starts, recent.time, kind=AGES)
    all_.numbers_of(recent.starts, recent.weight, codec.FINEST)
    all_.texts(found.bought.starts, found.bought.item, ITEM)
    all_.texts(found.hidden.starts, found.hidden.item, ITEM)
    all_.text(each, NEIGHBOURS, RAW)
    return all_


def _tables(found: PortraitColumns) -> list[Texts]:
    """The tables that the columns' codes are places in."""
    catalogue = found.catalogue
    space = catalogue.space.encode()
    behaviour = np.ascontiguousarray(found.behaviour)
    width = behaviour.shape[1] * behaviour.itemsize
    return [
        as_texts(np.append(_ENDS, _ENDS[-1] + len(space)), _WORDS + space),
        *map(texts_of, (found.user_ids, found.item_ids, catalogue.item_ids)),
        *map(texts_of, (catalogue.category_names, catalogue.brand_names, found.interests.names.names)),
        as_texts(width * np.arange(found.users + 1), behaviour.data.cast("B") if behaviour.size else b""),
        _neighbours(found.neighbours),
    ]


def _neighbours(found: Sequence[Neighbours]) -> Texts:
    """The four columns of each user's neighbours and what these like, as they are written."""
    some = [near for near in found if near is not NOBODY]
    if not some:
        return as_texts(len(_NOBODYS) * np.arange(len(found) + 1), _NOBODYS * len(found))
    cosines = codec.units([[cosine for _, cosine in near.users] for near in some])
    scores = codec.units([[score for _, score in near.items] for near in some])
    encoded = iter(
        codec.encode_neighbours([user for user, _ in near.users], of_users, [item for item, _ in near.items], of_items)
        for near, of_users, of_items in zip(some, cosines, scores, strict=True)
    )
    messages = [_NOBODYS if near is NOBODY else next(encoded) for near in found]
    return as_texts(np.cumsum([0, *map(len, messages)]), b"".join(messages))
