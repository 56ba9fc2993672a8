"""How kernels are compiled: to machine code that runs without the interpreter's lock and is kept for the next process.

Modules of kernels (`*_kernels.py`) import this and are themselves imported inside the functions that need them: numba
takes a third of a second, and commands that cluster nothing shall not wait for it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile a kernel at its first call for the types of that call.

    Machine code is kept beside the source, or in the user's cache where that folder is read-only, or under
    NUMBA_CACHE_DIR if set. Where none can be written, each process compiles for itself.
    Sums keep the order they are written in: there is no fast-math, so the same machine gives the same bits.
    """
    try:
        made: Kernel = njit(kernel, nogil=True, cache=True, error_model="numpy")
    except RuntimeError:  # numba's "no locator available": nowhere to write
        made = njit(kernel, nogil=True, error_model="numpy")
    return made
