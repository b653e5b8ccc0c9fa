"""Item vectors in eight bits a component: a quarter of float32, mapped from files and shared by processes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
CodeArray = NDArray[np.int8]

CHUNK = 1_024
"""Rows that are decoded at a time: 1.5 MB of 384 components, which a core's cache holds."""
EMPTY_NORM = 1e-6


class ItemVectors:
    """n unit vectors of D components as codes int8 (n, D) and scales float32 (n,): vector = scale · code.

    A code is the vector in steps of its greatest component over 127, its scale one over the code's length: what is read
    has length 1, or is zero where the code is. It lies at most √D · greatest component / 127 (L2) from what was stored,
    so a cosine with any unit vector is off by no more than that, and for 384 components by about 0.001.
    """

    def __init__(self, codes: CodeArray, scales: FloatArray) -> None:
        self.codes, self.scales = codes, scales

    @classmethod
    def of(cls, vectors: FloatArray) -> "ItemVectors":
        """The directions of `vectors` (n, D); rows that are zero or not finite become zero."""
        codes, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
        for start in range(0, len(vectors), CHUNK):
            part = slice(start, start + CHUNK)
            codes[part], scales[part] = _quantised(vectors[part])
        return cls(codes, scales)

    @property
    def shape(self) -> tuple[int, int]:
        return self.codes.shape[0], self.codes.shape[1]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> FloatArray:
        """The vectors float32 of one row (D,), or of many (k, D): indices, a mask or a slice."""
        return self.codes[rows] * np.asarray(self.scales[rows])[..., None]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All vectors, float32 (n, D): four times the memory."""
        return np.asarray(self[:], dtype)

    def dot(self, rows: NDArray[np.integer], queries: FloatArray) -> FloatArray:
        """Inner products of k rows with one query (D,) → float32 (k,), or with several (q, D) → (k, q)."""
        products = np.empty((rows.size, *queries.shape[:-1]), np.float32)
        for start in range(0, rows.size, CHUNK):
            part = rows[start : start + CHUNK]
            scales = self.scales[part]
            codes = self.codes.take(part, axis=0).astype(np.float32)
            products[start : start + CHUNK] = (codes @ queries.T) * (scales if queries.ndim == 1 else scales[:, None])
        return products


def _quantised(vectors: FloatArray) -> tuple[CodeArray, FloatArray]:
    norms = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(norms) & (norms > EMPTY_NORM)
    directions = np.where(usable[:, None], vectors, np.float32(0))
    greatest = np.abs(directions).max(axis=1, initial=0)
    steps = np.divide(127, greatest, out=np.zeros(len(vectors), np.float32), where=usable)
    codes = np.rint(directions * steps[:, None])
    lengths = np.linalg.norm(codes, axis=1)
    scales = np.divide(1, lengths, out=np.zeros(len(vectors), np.float32), where=lengths > 0)
    return codes.astype(np.int8), scales
