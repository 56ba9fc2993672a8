"""How the kernels become machine code: once for each machine and version of their files, kept between processes."""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.caching import FunctionCache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

ROWS = "Array(float32, 2, 'C', readonly=True)"
"""A table of float32 that a kernel only reads; memory-mapped and other read-only arrays fit too."""

BLOCKS = "Array(float32, 3, 'C', readonly=True)"
"""The same as blocks of rows side by side, (n_blocks, n_features, rows of a block)."""


def compiled(signature: str) -> Callable[[Kernel], Kernel]:
    """Compile a function for these argument types when its module is imported, so that no call waits for a compiler.

    Kernels hold no interpreter lock and start no threads. Sums are added up in the order that is written, neither
    reordered nor fused, so that every processor gives the same bits; only estimates may differ in their last ones.
    Machine code is kept beside the source or, where that can't be written, in the user's cache folder. It is made anew
    when any file of kernels has changed, for a kernel is made of parts and constants of others too.
    """

    def compile_it(function: Kernel) -> Kernel:
        kernel: Any = njit(nogil=True, error_model="numpy")(function)
        try:
            kernel._cache = _MachineCode(function)
        except RuntimeError as error:
            # Nowhere to keep it, as in a read-only container: this process compiles for itself.
            if "cannot cache" not in str(error):
                raise
        kernel.compile(signature)
        kernel.disable_compile()
        return cast("Kernel", kernel)

    return compile_it


class _MachineCode(FunctionCache):
    """What numba keeps of a function, which by itself goes by the function's own file alone."""

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(sig, codegen), _sources())


@cache
def _sources() -> str:
    """Tell the version of all files of kernels and their parts: those that take from numba or from this one."""
    texts = [file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py"))]
    kernels = [text for text in texts if b"from numba" in text or __name__.encode() in text]
    return sha256(b"\0".join(kernels)).hexdigest()


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
