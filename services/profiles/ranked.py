"""The largest entries of each row of a sparse matrix, vectorised over the rows."""

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
class Ranked:
    """Kept entries of all rows, row by row, best first: row r has `columns[indptr[r]:indptr[r + 1]]`."""

    indptr: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float64]

    def pairs(self, names: pa.Array) -> list[tuple[tuple[str, float], ...]]:
        """Per row its (name, value) pairs, best first; values rounded to four decimals."""
        both = zip(names.take(pa.array(self.columns)).to_pylist(), np.round(self.values, 4).tolist(), strict=True)
        return sliced(list(both), self.indptr)


def rank_rows(matrix: sparse.csr_array, count: int, at_least: float) -> Ranked:
    """Up to `count` entries ≥ `at_least` of each row, largest first; ties go to the smaller column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    columns, values = matrix.indices.astype(np.int64), matrix.data.astype(np.float64)
    kept = (values >= at_least) & (values >= _threshold(matrix, rows, count)[rows])
    rows, columns, values = rows[kept], columns[kept], values[kept]
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    kept = at_most(rows, count)
    return Ranked(row_starts(rows[kept], matrix.shape[0]), columns[kept], values[kept])


def _threshold(matrix: sparse.csr_array, rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(rows,) the `count`-th largest entry of each row, −inf where the row has fewer: spares sorting what is not kept.

    Rows are padded to the longest; where that would waste memory, there is no threshold.
    """
    longest = int(np.diff(matrix.indptr).max(initial=0))
    if longest <= count or matrix.shape[0] * longest > PADDING * matrix.nnz:
        return np.full(matrix.shape[0], -np.inf)
    padded = np.full((matrix.shape[0], longest), -np.inf)
    padded[rows, np.arange(matrix.nnz) - matrix.indptr[rows]] = matrix.data
    return np.partition(padded, longest - count, axis=1)[:, longest - count]


def at_most(row: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """True for the first `count` entries of each row; `row` is in ascending order."""
    return np.arange(len(row)) - np.searchsorted(row, row) < count


def row_starts(row: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """(rows + 1,) where each row's entries start, and the end; `row` is in ascending order."""
    return np.searchsorted(row, np.arange(rows + 1))


def sliced(values: Sequence[Any], starts: NDArray[np.int64]) -> list[tuple[Any, ...]]:
    """Each row's values as a tuple."""
    return [tuple(values[a:b]) for a, b in pairwise(starts.tolist())]
