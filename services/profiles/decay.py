"""Sums that fade with time and can be merged: their algebra.

A sum S(t) = Σ w · 2^(−(t − t_e) / H) · x_e as of a reference time t is enough to go on: advancing it to t' multiplies
it by 2^(−(t' − t) / H), and two sums as of the same time add up. So any order and any batching of events gives the
same sum. Each row keeps its newest event's time as its reference: however old a user's events are, nothing underflows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Matrix = NDArray | sparse.csr_array

EMPTY = -np.inf
"""Reference time of a row without events."""


@dataclass(frozen=True)
class DecayedSums:
    """`totals` (rows, k), dense or CSR, each row as of `reference` (rows,) epoch seconds. `half_life` in seconds;
    infinite for sums that do not fade."""

    half_life: float
    reference: Floats
    totals: Matrix

    @classmethod
    def of_events(
        cls, rows: NDArray[np.int64], count: int, times: Floats, weights: Floats, values: Matrix, half_life: float
    ) -> "DecayedSums":
        """Σ over events of weight · decay · values[event]: `values` has one row an event, `count` rows come out."""
        return cls.of_items(rows, np.arange(len(rows)), count, times, weights, values, half_life)

    @classmethod
    def of_items(
        cls,
        rows: NDArray[np.int64],
        items: NDArray[np.int64],
        count: int,
        times: Floats,
        weights: Floats,
        matrix: Matrix,
        half_life: float,
    ) -> "DecayedSums":
        """Σ over events of weight · decay · matrix[item]: one sparse product of (users × items) by (items × k)."""
        reference = np.full(count, EMPTY)
        np.maximum.at(reference, rows, times)
        factors = weights * np.exp2((times - reference[rows]) / half_life)
        left = sparse.csr_array((factors.astype(matrix.dtype), (rows, items)), shape=(count, matrix.shape[0]))
        totals = left @ matrix
        return cls(half_life, reference, sparse.csr_array(totals) if sparse.issparse(totals) else totals)

    def advanced(self, to: Floats) -> "DecayedSums":
        """The same sums as of `to` (rows,), which is never before the reference; empty rows stay empty."""
        with np.errstate(invalid="ignore"):
            factors = np.where(np.isneginf(self.reference), 0.0, np.exp2((self.reference - to) / self.half_life))
        reference = np.where(np.isneginf(self.reference), EMPTY, to)
        return DecayedSums(self.half_life, reference, _scaled(self.totals, factors))

    def merged(self, other: "DecayedSums") -> "DecayedSums":
        """The sums of both sets of events; rows stand for the same users in both."""
        reference = np.maximum(self.reference, other.reference)
        ours, theirs = self.advanced(reference), other.advanced(reference)
        return DecayedSums(self.half_life, reference, ours.totals + theirs.totals)

    def scaled(self, factors: Floats) -> "DecayedSums":
        """The sums times a factor (rows,) each."""
        return DecayedSums(self.half_life, self.reference, _scaled(self.totals, factors))

    def dense(self) -> NDArray:
        """(rows, k) as an ordinary array."""
        return self.totals.toarray() if sparse.issparse(self.totals) else self.totals


def _scaled(totals: Matrix, factors: Floats) -> Matrix:
    factors = factors.astype(totals.dtype)
    if not sparse.issparse(totals):
        return totals * factors[:, None]
    scaled = totals.copy()
    scaled.data *= np.repeat(factors, np.diff(totals.indptr))
    return scaled
