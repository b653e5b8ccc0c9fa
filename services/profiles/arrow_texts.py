"""Arrow's texts as two arrays, as compiled code reads and writes them."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Texts = tuple[NDArray[np.int32], NDArray[np.uint8]]
"""Offsets (n + 1,) of n texts, and the UTF-8 that they are places in; neither can be written to."""


def texts_of(array: pa.Array) -> Texts:
    """The texts of an array, not copied where they are `pa.string()`; null is empty."""
    if not len(array):
        return as_texts(np.zeros(1, np.int32), b"")
    if array.type != pa.string():
        array = array.cast(pa.string())
    _, offsets, data = array.buffers()
    at = np.frombuffer(offsets, np.int32)[array.offset : array.offset + len(array) + 1]
    return as_texts(at, data or b"")


def as_texts(offsets: NDArray, data: bytes | memoryview | pa.Buffer) -> Texts:
    """Texts of their offsets and UTF-8, or whatever bytes."""
    at, utf8 = offsets.astype(np.int32, copy=False).view(), np.frombuffer(data, np.uint8) if len(data) else _NOTHING
    at.flags.writeable = utf8.flags.writeable = False
    return at, utf8


def array_of(offsets: NDArray[np.int32], data: NDArray[np.uint8]) -> pa.Array:
    """The Arrow array of texts, not copied."""
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


_NOTHING = np.zeros(1, np.uint8)
