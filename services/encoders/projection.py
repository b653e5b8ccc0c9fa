"""A fixed random map from one encoder's space into the fused space: the same on every machine, for ever."""

import hashlib
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=16)
def random_projection(version: str, inner: int, outer: int) -> np.ndarray:
    """float32 (inner, outer) with orthonormal columns (inner ≥ outer) or rows (inner < outer: an exact isometry).

    Johnson & Lindenstrauss 1984: inner products survive up to about ±1/√outer. The signs come from SHAKE-256 of the
    encoder's version, not from a library's random generator, so stored vectors stay comparable across releases.
    """
    tall, wide = max(inner, outer), min(inner, outer)
    bits = hashlib.shake_256(f"{version}:{inner}:{outer}".encode()).digest((tall * wide + 7) // 8)
    signs = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=tall * wide).astype(np.float64) * 2 - 1
    basis, triangle = np.linalg.qr(signs.reshape(tall, wide))
    basis *= np.sign(np.diagonal(triangle))  # the decomposition is unique only up to these signs
    matrix = np.ascontiguousarray(basis if inner >= outer else basis.T, dtype=np.float32)
    matrix.setflags(write=False)
    return matrix
