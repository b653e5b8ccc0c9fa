"""Sparse rows as three arrays, and the largest entries of each: vectorised over the rows.

SciPy's sparse matrices check themselves whenever one is made, which takes longer than all else that a live update of a
few users does with them. So products are theirs, and what follows is done with the arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

PADDING = 8
"""How many times their own size sparse rows may take when padded to the same length."""


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

    @classmethod
    def summed(cls, row: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray, rows: int) -> "SparseRows":
        """Sums of values by row and column, columns in ascending order; `row` in any order."""
        width = int(columns.max(initial=0)) + 1
        keys, place = np.unique(row * width + columns, return_inverse=True)
        return cls(row_starts(keys // width, rows), keys % width, np.bincount(place, values, len(keys)))

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
    rows, columns, values = found.row(), found.columns, found.values
    kept = (values >= at_least) & (values >= _threshold(found, rows, count)[rows])
    rows, columns, values = rows[kept], columns[kept], values[kept]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    kept = at_most(rows, count)
    return SparseRows(row_starts(rows[kept], found.rows), columns[kept], values[kept])


def _threshold(found: SparseRows, rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(rows,) the `count`-th largest entry of each row, −inf where the row has fewer: spares sorting what is not kept.

    Rows are padded to the longest; where that would waste memory, there is no threshold.
    """
    longest = int(np.diff(found.indptr).max(initial=0))
    if longest <= count or found.rows * longest > PADDING * len(found.values):
        return np.full(found.rows, -np.inf)
    padded = np.full((found.rows, longest), -np.inf)
    padded[rows, np.arange(len(rows)) - found.indptr[rows]] = found.values
    return np.partition(padded, longest - count, axis=1)[:, longest - count]


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
