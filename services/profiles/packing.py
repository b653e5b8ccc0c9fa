"""Packed portraits straight from arrays: what `services.features.portrait.pack` makes of each as an object."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from services.core.types import Lifecycle
from services.features import portrait_codec as codec
from services.features.portrait import packed_columns
from services.profiles.arrow_texts import Texts, as_texts, texts_of
from services.profiles.events import TYPES
from services.profiles.portrait_columns import PortraitColumns
from services.profiles.ranked import SparseRows
from services.profiles.records import (
    AGES,
    FALLING,
    GAPPED,
    NESTED,
    NUMBER,
    NUMBERS,
    OPTIONAL,
    TEXT,
    TEXTS,
    records,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WORDS = ("", *Lifecycle)
"""The texts that any portrait may hold; the vector space comes after them."""
SPACE = len(WORDS)
LIFECYCLE = {name: code for code, name in enumerate(WORDS)}

WORD, USER, ITEM, CATALOGUE_ITEM, CATEGORY, BRAND, NAME, NEAR_USER, NEAR_ITEM = range(9)
"""The tables of texts, in the order of `_tables`."""

_WORDS = "".join(WORDS).encode()
_ENDS = np.cumsum([0, *(len(word.encode()) for word in WORDS)])
_NO_TEXTS = pa.array([], pa.string())
_TYPE_CODES = np.array([codec.TYPES.index(name) for name in TYPES])


class _Records:
    """The columns of records of U users, put together for `records`."""

    def __init__(self, users: int) -> None:
        self.each = np.arange(users + 1)
        self.columns: list[tuple[int, int, int]] = []
        self.starts: list[Ints] = []
        self.codes: list[Ints] = []
        self.numbers: list[NDArray] = []
        self.inner: list[Ints] = []
        self._codes = self._numbers = self._inner = 0

    def text(self, codes: Ints, table: int) -> None:
        """A column of one text a user."""
        self.texts(self.each, codes, table, TEXT)

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

    def numbers_of(self, starts: Ints, values: NDArray, unit: int = codec.FINE, kind: int = NUMBERS) -> None:
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
            _as_array(tuple(self.columns)),
            np.concatenate(self.starts, dtype=np.int64).reshape(len(self.starts), -1),
            np.concatenate(self.inner, dtype=np.int64),
            np.concatenate(self.codes, dtype=np.int64),
            np.concatenate(self.numbers, dtype=np.float64),
            origin,
            offsets,
            texts,
        )


@dataclass(frozen=True)
class _Near:
    """Names and scores of each user's pairs, at `starts[u]:starts[u + 1]`."""

    starts: Ints
    names: pa.Array
    scores: Floats

    @classmethod
    def of(cls, lists: Sequence[tuple[tuple[str, float], ...]]) -> "_Near":
        """The pairs of each user."""
        if not any(lists):
            return cls(np.zeros(len(lists) + 1, np.int64), _NO_TEXTS, np.zeros(0))
        names, scores = zip(*chain.from_iterable(lists), strict=True)
        return cls(np.cumsum([0, *map(len, lists)]), pa.array(names, pa.string()), np.array(scores, np.float64))


@cache
def _as_array(columns: tuple[tuple[int, int, int], ...]) -> NDArray[np.int64]:
    """The kinds, tables and units of columns, which are the same each time."""
    return np.array(columns, np.int64)


def packed(found: PortraitColumns) -> list[bytes]:
    """The packed form of each portrait."""
    near = [_Near.of(found.near_users), _Near.of(found.near_items)]
    written, begins = _columns(found, near).written(found.as_of, _tables(found, near))
    view, ends = written.data, begins.tolist()
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
    flat, size = rows.ravel().data, rows.shape[1]
    return [flat[size * row : size * (row + has)] for row, has in enumerate(known.tolist())]


def _columns(found: PortraitColumns, near: Sequence[_Near]) -> _Records:
    """The columns in the order of `codec.Columns`."""
    made, recent, interests, names = _Records(found.users), found.recent, found.interests, found.interests.names
    made.text(made.each[:-1], USER)
    made.number(np.full(found.users, found.as_of), 0)
    made.number(found.newest, 0)
    made.number(found.event_count, 1)
    made.number(found.confidence, codec.FINE)
    made.text(np.fromiter(map(LIFECYCLE.__getitem__, found.lifecycle), np.int64, found.users), WORD)
    made.text(found.has_vector * SPACE, WORD)
    made.texts(interests.starts, interests.medoid, CATALOGUE_ITEM)
    made.numbers_of(interests.starts, interests.weight, kind=FALLING)
    made.texts(interests.starts, np.arange(len(interests.medoid)), NAME)
    made.nested(interests.starts, names.categories, CATEGORY)
    made.nested(interests.starts, names.brands, BRAND)
    for pairs, table in ((found.categories, CATEGORY), (found.brands, BRAND)):
        made.texts(pairs.indptr, pairs.columns, table)
        made.numbers_of(pairs.indptr, pairs.values.round(4), kind=FALLING)
    made.numbers_of(3 * made.each, found.price.ravel(), kind=OPTIONAL)
    made.numbers_of(found.behaviour.shape[1] * made.each, found.behaviour.ravel(), 1, GAPPED)
    made.texts(recent.starts, recent.item, ITEM)
    made.numbers_of(recent.starts, _TYPE_CODES[recent.type], 1)
    made.numbers_of(recent.starts, recent.time, codec.FINEST, AGES)
    made.numbers_of(recent.starts, recent.weight, codec.FINEST)
    made.texts(found.bought.starts, found.bought.item, ITEM)
    made.texts(found.hidden.starts, found.hidden.item, ITEM)
    for each, table in zip(near, (NEAR_USER, NEAR_ITEM), strict=True):
        made.texts(each.starts, np.arange(len(each.scores)), table)
        made.numbers_of(each.starts, each.scores, kind=FALLING)
    return made


def _tables(found: PortraitColumns, near: Sequence[_Near]) -> list[Texts]:
    """The tables that the columns' codes are places in."""
    catalogue = found.catalogue
    space = catalogue.space.encode()
    return [
        as_texts(np.append(_ENDS, _ENDS[-1] + len(space)), _WORDS + space),
        *map(texts_of, (found.user_ids, found.item_ids, catalogue.item_ids)),
        *map(texts_of, (catalogue.category_names, catalogue.brand_names, found.interests.names.names)),
        *(texts_of(each.names) for each in near),
    ]
