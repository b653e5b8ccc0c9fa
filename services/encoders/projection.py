"""A fixed random map from one encoder's space into the fused space: the same on every machine, for ever."""

import hashlib
from functools import lru_cache
from itertools import count

import numpy as np


@lru_cache(maxsize=16)
def random_projection(version: str, inner: int, outer: int) -> np.ndarray:
    """float32 (inner, outer) with orthonormal columns (inner ≥ outer) or rows (inner < outer: an exact isometry).

    Johnson & Lindenstrauss 1984: inner products survive up to about ±1/√outer. The signs come from SHAKE-256 of the
    encoder's version, not from a library's random generator, so stored vectors stay comparable across releases.
    """
    tall, wide = max(inner, outer), min(inner, outer)
    for attempt in count():
        signs = _signs(f"{version}:{inner}:{outer}" + (f":{attempt}" if attempt else ""), tall, wide)
        basis, triangle = np.linalg.qr(signs)
        if np.abs(np.diagonal(triangle)).min() > 1e-6:
            break  # small matrices of signs are singular now and then; then the next draw counts
    basis *= np.sign(np.diagonal(triangle))  # the decomposition is unique only up to these signs
    matrix = np.ascontiguousarray(basis if inner >= outer else basis.T, dtype=np.float32)
    matrix.setflags(write=False)
    return matrix


def _signs(name: str, rows: int, columns: int) -> np.ndarray:
    """float64 (rows, columns) of ±1, decided by `name` alone."""
    bits = hashlib.shake_256(name.encode()).digest((rows * columns + 7) // 8)
    drawn = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=rows * columns)
    return drawn.astype(np.float64).reshape(rows, columns) * 2 - 1
