"""Loops over users and events as machine code: what NumPy would need a dozen passes for, or an array a user.

`native` compiles a function when its module is imported, for the types that it names, so that no request and no tick
waits for a compiler; the code is kept beside the module (`NUMBA_CACHE_DIR` says where else) and loaded the next time.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import from_dtype, njit, types
from numpy.typing import DTypeLike

_jit: Any = njit  # typed too narrowly for options that are chosen here

Function = TypeVar("Function", bound=Callable[..., Any])

REASSOCIATED = {"reassoc", "contract", "nsz"}
"""Sums in any order, which vector instructions need. NaN and infinity keep their meaning."""


def read(dtype: DTypeLike, dimensions: int = 1) -> Any:
    """The type of a contiguous array that is read and not written to, so that Arrow's and a database's will do."""
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C", readonly=True)


def written(dtype: DTypeLike, dimensions: int = 1) -> Any:
    """The type of a contiguous array that is written to."""
    return types.Array(from_dtype(np.dtype(dtype)), dimensions, "C")


def native(*signature: Any, reassociated: bool = False) -> Callable[[Function], Function]:
    """Compile a function of arrays and numbers for a signature in Numba's notation, or for the types of its arguments:
    `read` and `written` arrays, and NumPy's types of numbers. Without any, for the types of the first call, as befits
    what other compiled functions call.

    `reassociated` lets the compiler sum in another order than is written: quicker, and the same on every call, but not
    to the last bit what NumPy gives.
    """

    typed = signature
    if signature and not isinstance(signature[0], str):
        typed = (tuple(kind if isinstance(kind, types.Array) else from_dtype(np.dtype(kind)) for kind in signature),)

    def compiled(function: Function) -> Function:
        options = {"error_model": "numpy", "nogil": True, "fastmath": REASSOCIATED if reassociated else False}
        try:
            return _jit(*typed, cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written: compiled each time
            return _jit(*typed, **options)(function)

    return compiled
