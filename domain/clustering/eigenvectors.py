"""Eigenvectors of symmetric matrices by LAPACK's dsyevr, called from machine code.

scipy.linalg.eigh calls the same routine but holds the interpreter's lock, so that threads that fit subspaces would
wait for each other. scipy.linalg.cython_lapack hands its address out to compiled code.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from domain.clustering.compilation import compiled, part_of_kernels

Numbers = NDArray[Any]

ROUTINE = f"FunctionType(void({', '.join(['uint64'] * 21)}))"
"""dsyevr with the addresses of its 21 arguments."""

ROWS_PER_PRODUCT = 1024

# Beneath this part of the largest eigenvalue, a direction is rounding noise.
SMALLEST_RELATIVE_EIGENVALUE = 1e-12


class Routine(types.WrapperAddressProtocol):
    """A routine of LAPACK at its address."""

    def __init__(self, name: str) -> None:
        from scipy.linalg import cython_lapack

        capsule = ctypes.py_object(cython_lapack.__pyx_capi__[name])
        name_of, address_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
        name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
        address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        self._address: int = address_of(capsule, name_of(capsule))

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        """What numba calls it with."""
        return types.void(*[types.uint64] * 21)


@cache
def dsyevr() -> Routine:
    """Find LAPACK's routine for some eigenvectors of a symmetric matrix."""
    return Routine("dsyevr")


@part_of_kernels
def _call(
    routine: Any,
    letters: Numbers,
    numbers: Numbers,
    nothing: Numbers,
    matrix: Numbers,
    values: Numbers,
    vectors: Numbers,
    support: Numbers,
    work: Numbers,
    whole_work: Numbers,
) -> None:
    letter, number, zero, four = letters.ctypes.data, numbers.ctypes.data, nothing.ctypes.data, np.uint64(4)
    routine(
        letter,  # vectors too
        letter + np.uint64(1),  # those from one place to another
        letter + np.uint64(2),  # of the matrix's lower half, by columns
        number,
        matrix.ctypes.data,
        number,
        zero,
        zero,
        number + four,  # the first place
        number,  # the last
        zero,
        number + np.uint64(4) * four,
        values.ctypes.data,
        vectors.ctypes.data,
        number,
        support.ctypes.data,
        work.ctypes.data,
        number + np.uint64(2) * four,
        whole_work.ctypes.data,
        number + np.uint64(3) * four,
        number + np.uint64(5) * four,
    )


@part_of_kernels
def _find(routine: Any, matrix: Numbers, count: int, values: Numbers, vectors: Numbers) -> bool:
    size = len(matrix)
    letters = np.array([ord("V"), ord("I"), ord("L")], dtype=np.uint8)
    numbers = np.array([size, size - count + 1, 26 * size, 10 * size, 0, 0], dtype=np.int32)
    nothing, found, rising = np.zeros(1), np.empty(size), np.empty((count, size))
    support, work, whole_work = np.empty(2 * count, dtype=np.int32), np.empty(26 * size), np.empty(10 * size, np.int32)
    # An address keeps no array alive, and numba frees an array after its last use: here that is after this call.
    _call(routine, letters, numbers, nothing, matrix, found, rising, support, work, whole_work)
    for place in range(count):
        values[place] = found[count - 1 - place]
        vectors[place] = rising[count - 1 - place]
    return bool(numbers[4] == count and numbers[5] == 0)


@part_of_kernels
def _keep_real(values: Numbers, vectors: Numbers) -> int:
    """Put zeros where there is no direction, and turn each so that its first entry of largest magnitude is positive."""
    kept = 0
    for place in range(len(values)):
        if not (values[0] > 0 and values[place] > SMALLEST_RELATIVE_EIGENVALUE * values[0]):
            values[place] = 0.0
            vectors[place] = 0.0
            continue
        kept += 1
        vector = vectors[place]
        largest = 0.0
        for entry in vector:
            if abs(entry) > abs(largest):
                largest = entry
        if largest < 0:
            for i in range(len(vector)):
                vector[i] = -vector[i]
    return kept


@compiled(f"int64({ROUTINE}, float64[:, ::1], float64[::1], float64[:, ::1])")
def find_leading(routine: Any, matrix: Numbers, values: Numbers, vectors: Numbers) -> int:
    """Find the largest eigenvalues, falling, and their eigenvectors as rows; zeros for those that are rounding noise.

    matrix: (n, n), written over; values: (count,) with count from 1 to n; vectors: (count, n)
    Returns how many are no noise, or −1 if LAPACK finds none, which happens with no finite matrix.
    """
    if not _find(routine, matrix, len(values), values, vectors):
        return -1
    return _keep_real(values, vectors)


@compiled(
    f"boolean({ROUTINE}, Array(float32, 2, 'C', readonly=True), int64[::1], int64[::1], int64[::1], float64[:, :, ::1])"
)
def fit_subspaces(
    routine: Any, rows: Numbers, members: Numbers, starts: Numbers, clusters: Numbers, bases: Numbers
) -> bool:
    """Turn subspaces to the leading directions of their rows about the origin; one without rows stays.

    rows: (n_samples, d); members: (n_samples,) rows by cluster; starts: (n_clusters + 1,) where each starts in members
    clusters: those to fit; bases: (n_clusters, rank, d)
    Returns whether LAPACK found them all, which it does for finite rows.
    """
    _, rank, n_features = bases.shape
    chosen, values = np.empty((ROWS_PER_PRODUCT, n_features)), np.empty(rank)
    for cluster in clusters:
        if starts[cluster] == starts[cluster + 1]:
            continue
        scatter = np.zeros((n_features, n_features))
        for first in range(starts[cluster], starts[cluster + 1], ROWS_PER_PRODUCT):
            count = min(ROWS_PER_PRODUCT, starts[cluster + 1] - first)
            for i in range(count):
                for feature in range(n_features):
                    chosen[i, feature] = rows[members[first + i], feature]
            some = chosen[:count]
            scatter += np.dot(some.T, some)
        if not _find(routine, scatter, rank, values, bases[cluster]):
            return False
        _keep_real(values, bases[cluster])
    return True
