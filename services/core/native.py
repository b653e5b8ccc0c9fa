"""Loops over users and events as machine code: what NumPy would need a dozen passes for, or an array a user.

`native` compiles a function when its module is imported, for the types that it names, so that no request and no tick
waits for a compiler; the code is kept beside the module (`NUMBA_CACHE_DIR` says where else) and loaded the next time.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

_jit: Any = njit  # typed too narrowly for options that are chosen here

Function = TypeVar("Function", bound=Callable[..., Any])

REASSOCIATED = {"reassoc", "contract", "nsz"}
"""Sums in any order, which vector instructions need. NaN and infinity keep their meaning."""


def native(*signature: str, reassociated: bool = False) -> Callable[[Function], Function]:
    """Compile a function of arrays and numbers for a signature in Numba's notation; without one, for the types of the
    first call, as befits what other compiled functions call.

    `reassociated` lets the compiler sum in another order than is written: quicker, and the same on every call, but not
    to the last bit what NumPy gives.
    """

    def compiled(function: Function) -> Function:
        options = {"error_model": "numpy", "nogil": True, "fastmath": REASSOCIATED if reassociated else False}
        try:
            return _jit(*signature, cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written: compiled each time
            return _jit(*signature, **options)(function)

    return compiled
