"""Sparse rows as three arrays, and the largest entries of each.

SciPy's sparse matrices check themselves whenever one is made, which takes longer than all else that a live update of a
few users does with them. So products of many rows are theirs, and all else is done with the arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from services.core.native import native, read

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class SparseRows:
    """Entries of all rows, row by row: row r has `columns[indptr[r]:indptr[r + 1]]` and as many `values`."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, matrix: sparse.csr_array) -> "SparseRows":
        """The entries of a matrix, in its order."""
        return cls(
            matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data.astype(np.float64, copy=False)
        )

    @property
    def rows(self) -> int:
        return len(self.indptr) - 1

    def row(self) -> NDArray[np.int64]:
        """The row of each entry."""
        return np.repeat(np.arange(self.rows), np.diff(self.indptr))

    def where(self, kept: NDArray[np.bool_]) -> "SparseRows":
        """Some of the entries."""
        return SparseRows(row_starts(self.row()[kept], self.rows), self.columns[kept], self.values[kept])

    def times(self, factors: NDArray[np.float64]) -> "SparseRows":
        """Each entry times the factor of its column."""
        return SparseRows(self.indptr, self.columns, self.values * factors[self.columns])

    def pairs(self, names: pa.Array) -> list[tuple[tuple[str, float], ...]]:
        """Per row its (name, value) pairs in order; values rounded to four decimals."""
        both = zip(texts_at(names, self.columns), np.round(self.values, 4).tolist(), strict=True)
        return sliced(list(both), self.indptr)

    def named(self, names: pa.Array) -> list[tuple[str, ...]]:
        """Per row the names of its columns in order."""
        return sliced(texts_at(names, self.columns), self.indptr)


def rank_rows(found: SparseRows, count: int, at_least: float) -> SparseRows:
    """Up to `count` entries ≥ `at_least` of each row, largest first; ties go to the smaller column."""
    return SparseRows(*_ranked(found.indptr, found.columns, np.asarray(found.values, np.float64), count, at_least))


@native(read(np.int64), read(np.int64), read(np.float64), np.int64, np.float64)
def _ranked(indptr: Ints, columns: Ints, values: Floats, count: int, at_least: float) -> tuple[Ints, Ints, Floats]:
    """The fields of `rank_rows`, each entry put in its place among the best so far of its row."""
    starts = np.zeros(len(indptr), np.int64)
    best_column, best_value = np.empty(len(columns), np.int64), np.empty(len(columns))
    end = 0
    for row in range(len(indptr) - 1):
        first = end
        for at in range(indptr[row], indptr[row + 1]):
            column, value = columns[at], values[at]
            if not value >= at_least:
                continue
            place = end
            while place > first and (-best_value[place - 1], best_column[place - 1]) > (-value, column):
                place -= 1
            if place - first == count:
                continue
            end = min(end + 1, first + count)
            for moved in range(end - 1, place, -1):
                best_column[moved], best_value[moved] = best_column[moved - 1], best_value[moved - 1]
            best_column[place], best_value[place] = column, value
        starts[row + 1] = end
    return starts, best_column[:end], best_value[:end]


def at_most(row: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """True for the first `count` entries of each row; `row` is in ascending order."""
    return np.arange(len(row)) - np.searchsorted(row, row) < count


def texts_at(texts: pa.Array, at: NDArray[np.int64]) -> list[str]:
    """The texts at some places; of few texts each becomes a string once."""
    if len(texts) < len(at):
        return np.array(texts.to_pylist(), object)[at].tolist()
    return texts.take(pa.array(at)).to_pylist()


def row_starts(row: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """(rows + 1,) where each row's entries start, and the end; `row` is in ascending order."""
    return np.searchsorted(row, np.arange(rows + 1))


def sliced(values: Sequence[Any], starts: NDArray[np.int64]) -> list[tuple[Any, ...]]:
    """Each row's values as a tuple."""
    return [tuple(values[a:b]) for a, b in pairwise(starts.tolist())]
