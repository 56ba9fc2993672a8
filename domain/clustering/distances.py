"""Sums of distances between clusters, as machine code. Specified by tests/domain/clustering/naive.py."""

from math import sqrt
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from domain.clustering.compilation import compiled

Numbers = NDArray[Any]

ROWS = "Array(float32, 2, 'C', readonly=True)"
LABELS = "Array(int32, 1, 'C', readonly=True)"

# Mean cosine distances beneath this are taken from differences too.
NARROW = 1e-6
# Squared differences of unit rows beneath this are rounding.
SAME_DIRECTION = 1e-30


# The compiler may add these up in whatever order its vector instructions do: the same one on a machine, always.
_summed = njit(nogil=True, error_model="numpy", forceinline=True, fastmath={"reassoc"})


@_summed
def product(first: Numbers, second: Numbers) -> float:
    """Sum the products of their numbers in float64."""
    total = 0.0
    for i in range(len(first)):
        total += np.float64(first[i]) * np.float64(second[i])
    return total


@_summed
def squared_length(row: Numbers) -> float:
    """Sum the squares in float64."""
    return product(row, row)


@_summed
def squared_difference(first: Numbers, second: Numbers, scale: float) -> float:
    """Sum the squares of first · scale − second in float64."""
    total = 0.0
    for i in range(len(first)):
        apart = np.float64(first[i]) * scale - second[i]
        total += apart * apart
    return total


@_summed
def added_up(numbers: Numbers, start: int, stop: int) -> float:
    """Sum the numbers from start to before stop in float64."""
    total = 0.0
    for i in range(start, stop):
        total += np.float64(numbers[i])
    return total


@compiled(f"void({ROWS}, float64[::1])")
def measure_rows(rows: Numbers, squares: Numbers) -> None:
    """Write down the squared length of each row."""
    for row in range(len(rows)):
        squares[row] = squared_length(rows[row])


@compiled(f"void({ROWS}, float64[::1], float32[:, ::1])")
def divide_rows(rows: Numbers, lengths: Numbers, divided: Numbers) -> None:
    """Divide each row by its length, in float64, and round: rows and divided (n, d), lengths (n,)."""
    for row in range(len(rows)):
        length = lengths[row]
        for feature in range(rows.shape[1]):
            divided[row, feature] = np.float32(rows[row, feature] / length)


@compiled(f"void({ROWS}, float64[::1], {LABELS}, float64[:, ::1])")
def add_rows(rows: Numbers, scales: Numbers, ids: Numbers, sums: Numbers) -> None:
    """Add each row, times its scale, to the sum of its cluster: rows (n, d), scales, ids (n,), sums (n_clusters, d)."""
    for row in range(len(rows)):
        added, scale = sums[ids[row]], scales[row]
        for feature in range(rows.shape[1]):
            added[feature] += rows[row, feature] * scale


@compiled(f"void({ROWS}, float64[::1], {LABELS}, float64[:, ::1], float64[::1], float64[::1])")
def add_distances_to_means(
    rows: Numbers, scales: Numbers, ids: Numbers, means: Numbers, distances: Numbers, squares: Numbers
) -> None:
    """Add the distance of each row, times its scale, to its cluster's mean, and the square of it, to its cluster's.

    rows: (n, d); scales, ids: (n,); means: (n_clusters, d); distances, squares: (n_clusters,)
    """
    for row in range(len(rows)):
        square = squared_difference(rows[row], means[ids[row]], scales[row])
        squares[ids[row]] += square
        distances[ids[row]] += sqrt(square)


@compiled(f"void({ROWS}, {LABELS}, {ROWS}, float64[::1])")
def measure_from_own(rows: Numbers, ids: Numbers, centres: Numbers, squares: Numbers) -> None:
    """Write down the squared distance of each row from its own centre, by differences: 0 where they are equal.

    rows: (n, d); ids, squares: (n,); centres: (n_clusters, d)
    """
    for row in range(len(rows)):
        squares[row] = squared_difference(rows[row], centres[ids[row]], 1.0)


@compiled(f"void({ROWS}, {LABELS}, {ROWS}, float64[::1])")
def measure_angles_from_own(rows: Numbers, ids: Numbers, centres: Numbers, distances: Numbers) -> None:
    """Write down 1 − cosine of each row and its own centre, 1 where either is zero; shapes as measure_from_own's."""
    lengths = np.empty(len(centres))
    for cluster in range(len(centres)):
        lengths[cluster] = squared_length(centres[cluster])
    for row in range(len(rows)):
        own = ids[row]
        both = sqrt(squared_length(rows[row]) * lengths[own])
        cosine = product(rows[row], centres[own]) / both if both > 0 else 0.0
        distances[row] = 1.0 - max(min(cosine, 1.0), -1.0)


@compiled(f"void(float64[::1], {LABELS}, int32[:, ::1])")
def find_nearest(distances: Numbers, ids: Numbers, found: Numbers) -> None:
    """List the rows that are nearest to each cluster, the nearest first, ties by the lowest index.

    distances, ids: (n,), −1 for rows of no cluster; found: (n_clusters, how many), −1 at first and where there is none
    """
    many = found.shape[1]
    for row in range(len(ids)):
        own = ids[row]
        if own < 0 or (found[own, many - 1] >= 0 and distances[found[own, many - 1]] <= distances[row]):
            continue
        place = many - 1
        while place > 0 and (found[own, place - 1] < 0 or distances[found[own, place - 1]] > distances[row]):
            found[own, place] = found[own, place - 1]
            place -= 1
        found[own, place] = row


@compiled(
    f"float64({ROWS}, float64[::1], float64[:, ::1], {LABELS}, float64[:, ::1], float64[::1], boolean[::1], "
    "float64[::1])"
)
def add_cosine_silhouettes(
    rows: Numbers,
    scales: Numbers,
    products: Numbers,
    ids: Numbers,
    means: Numbers,
    sizes: Numbers,
    narrow: Numbers,
    spreads: Numbers,
) -> float:
    """Add up the silhouettes of rows by cosine from their products with the means of all clusters.

    rows: (n, d); scales: (n,) that bring them to length 1, or 0; products: (n, n_clusters) rows · means; ids: (n,)
    means: (n_clusters, d) of the clusters' units; sizes: (n_clusters,)
    narrow: (n_clusters,) whether no row is zero and distances may be too small for 1 − product
    spreads: (n_clusters,) of the narrow ones, the means of |z − mean|²

    The mean distance of a row z, 1 − z·mean, is then half of |z − mean|² + spread, in which nothing cancels out.
    """
    total = 0.0
    for row in range(len(rows)):
        own, scale = ids[row], scales[row]
        if sizes[own] == 1:
            continue
        within, nearest = 0.0, np.inf
        for cluster in range(len(sizes)):
            mean = 1.0 - products[row, cluster] * scale
            if narrow[cluster] and mean < NARROW:
                both = squared_difference(rows[row], means[cluster], scale) + spreads[cluster]
                mean = 0.5 * both if both > SAME_DIRECTION else 0.0
            if cluster == own:
                # A row of zeros is at distance 1 from every row, but not from itself.
                itself = 0.0 if scale > 0 else 1.0
                within = max(mean * sizes[own] - itself, 0.0) / (sizes[own] - 1.0)
            else:
                nearest = min(nearest, mean)
        larger = max(within, nearest)
        if larger > 0:
            total += (nearest - within) / larger
    return total


@compiled("float64(float64[:, ::1], int32[::1], float64[::1])")
def add_silhouettes(distances: Numbers, ids: Numbers, sizes: Numbers) -> float:
    """Add up the silhouettes of rows from their distances, (n, n_clusters), added up over the rows of each cluster."""
    total = 0.0
    for row in range(len(distances)):
        own = ids[row]
        if sizes[own] == 1:
            continue
        within, nearest = distances[row, own] / (sizes[own] - 1.0), np.inf
        for cluster in range(len(sizes)):
            if cluster != own:
                nearest = min(nearest, distances[row, cluster] / sizes[cluster])
        larger = max(within, nearest)
        if larger > 0:
            total += (nearest - within) / larger
    return total


@compiled(f"void({ROWS}, int64[::1], float64[::1], float64, float32[:, ::1], float32[::1])")
def move(rows: Numbers, chosen: Numbers, middle: Numbers, scale: float, moved: Numbers, squares: Numbers) -> None:
    """Take the chosen rows as seen from the middle, times a scale: moved (n, d), and their squared lengths (n,)."""
    n_features = rows.shape[1]
    for i in range(len(chosen)):
        row, seen = rows[chosen[i]], moved[i]
        for feature in range(n_features):
            seen[feature] = (row[feature] - middle[feature]) * scale
        squares[i] = squared_length(seen)


@compiled(
    f"void(float32[:, ::1], {ROWS}, int64[::1], int64[::1], float32[::1], float32[::1], float32, float64, "
    "int64[::1], int64[::1], int64[::1], float64[:, ::1], float64[:, ::1], int64)"
)
def add_tile(
    products: Numbers,
    rows: Numbers,
    first: Numbers,
    second: Numbers,
    first_squares: Numbers,
    second_squares: Numbers,
    cancelled: float,
    scale: float,
    slots: Numbers,
    clusters: Numbers,
    starts: Numbers,
    of_first: Numbers,
    of_second: Numbers,
    place: int,
) -> None:
    """Turn products of two groups of rows, sorted by cluster, into distances, and add these up by cluster both ways.

    products: (n, m) first · second, written over; first, second: (n,) and (m,) indices of rows; squares: of each
    cancelled: a squared distance beneath this part of both squares is taken from differences, in float64
    scale: that of the products
    slots: (n,) where the distances of a first row are added up in of_second, (n_slots, all rows), from `place` on; not
    if place is negative
    clusters: the clusters of second, in their order; starts: where each starts in it, and at last m
    of_first: (n, n_clusters) where the distances to second's clusters are added up
    """
    n, m = products.shape
    for i in range(n):
        row = products[i]
        own = first_squares[i]
        unsure = 0
        for j in range(m):
            whole = own + second_squares[j]
            row[j] = whole - np.float32(2.0) * row[j]
            unsure += not row[j] > cancelled * whole
        if unsure > 0:
            for j in range(m):
                if not row[j] > cancelled * (own + second_squares[j]):
                    row[j] = squared_difference(rows[first[i]], rows[second[j]], 1.0) * scale * scale
        for j in range(m):
            row[j] = np.sqrt(row[j])
        if place >= 0:
            added = of_second[slots[i], place : place + m]
            for j in range(m):
                added[j] += row[j]
        for run in range(len(clusters)):
            of_first[i, clusters[run]] += added_up(row, starts[run], starts[run + 1])
