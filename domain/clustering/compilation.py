"""How the kernels become machine code: once for each machine and version of their file, kept between processes."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ROWS = "Array(float32, 2, 'C', readonly=True)"
"""A table of float32 that a kernel only reads; memory-mapped and other read-only arrays fit too."""

BLOCKS = "Array(float32, 3, 'C', readonly=True)"
"""The same as blocks of rows side by side, (n_blocks, n_features, rows of a block)."""


def compiled(signature: str) -> Callable[[Kernel], Kernel]:
    """Compile a function for these argument types when its module is imported, so that no call waits for a compiler.

    Kernels hold no interpreter lock and start no threads. Sums are added up in the order that is written, neither
    reordered nor fused, so that every processor gives the same bits; only np.dot may differ in its last ones.
    Machine code is kept beside the source or, where that can't be written, in the user's cache folder. It is made anew
    when that file has changed, and for no other reason: a kernel's parts and constants lie in its own file.
    """

    def compile_it(function: Kernel) -> Kernel:
        try:
            return _jit(function, signature, cache=True)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            # Nowhere to keep it, as in a read-only container: this process compiles for itself.
            return _jit(function, signature, cache=False)

    return compile_it


def _jit(function: Kernel, signature: str, cache: bool) -> Kernel:
    kernel = njit([signature], cache=cache, nogil=True, error_model="numpy")(function)
    return cast("Kernel", kernel)


def part_of_kernels(function: Kernel) -> Kernel:
    """Make a function that kernels call; it is compiled into each of them, in its place.

    A call would count a reference to each array, one thread at a time: threads that share arrays would wait for it.
    """
    return cast("Kernel", njit(nogil=True, error_model="numpy", forceinline=True)(function))


def rough_part_of_kernels(function: Kernel) -> Kernel:
    """Make a part whose sums may be reordered and fused: fast, and with last bits that depend on the processor.

    Only for estimates whose error a kernel bounds, so that nothing that it returns depends on them.
    """
    fast = {"reassoc", "contract", "nsz"}
    return cast("Kernel", njit(nogil=True, error_model="numpy", forceinline=True, fastmath=fast)(function))
