"""Lloyd's iterations as machine code, exact: no label hangs on how a product is rounded."""

import numpy as np
from numpy.typing import NDArray

from domain.clustering.comparing import ALWAYS, Centres, Changes, Data, Drift, Knowledge, compare, workspace
from domain.clustering.compilation import BLOCKS, ROWS, compiled, part_of_kernels
from domain.clustering.lanes import NEVER, rounded_up
from domain.clustering.products import LANES
from domain.clustering.row_sums import Index, squared_distance
from domain.clustering.vectors import Doubles, Labels, Vectors

Sizes = NDArray[np.int64]

# Beneath this mean length, unit rows cancel each other out and their mean has no direction.
SHORTEST_MEAN_DIRECTION = 1e-7
# Rows that are compared together, of which a core's own cache holds so many numbers; in fewer, bookkeeping would count.
NUMBERS_TOGETHER, FEWEST_TOGETHER = 2**16, 512
# So many numbers are in some cache or other.
NUMBERS_NEAR = 2**20


@part_of_kernels
def _face(centres: Centres, shift: Doubles, scale: float) -> float:
    """Bring centroids to where the rows are; return the length of the longest there."""
    n_clusters, n_features = centres.centroids.shape
    longest = 0.0
    for cluster in range(n_clusters):
        square = 0.0
        for feature in range(n_features):
            value = np.float32((np.float64(centres.centroids[cluster, feature]) - shift[feature]) * scale)
            centres.faced[cluster, feature] = value
            square += np.float64(value) * np.float64(value)
        centres.halves[cluster] = np.float32(square / 2)
        longest = max(longest, square)
    return float(np.sqrt(longest))


@part_of_kernels
def _move_row(rows: Vectors, row: Index, source: int, target: int, sums: Doubles, sizes: Sizes) -> None:
    n_features = rows.shape[1]
    if source < len(sizes):
        sizes[source] -= 1
        for feature in range(n_features):
            sums[source, feature] -= np.float64(rows[row, feature])
    sizes[target] += 1
    for feature in range(n_features):
        sums[target, feature] += np.float64(rows[row, feature])


@part_of_kernels
def _highest(numbers: Doubles) -> int:
    highest = 0
    for index in range(len(numbers)):
        if numbers[index] > numbers[highest]:
            highest = index
    return highest


@part_of_kernels
def _fill(
    rows: Vectors, centroids: Vectors, known: Knowledge, sums: Doubles, sizes: Sizes, changes: Changes, n_changed: int
) -> tuple[int, int]:
    """Give each empty cluster the row farthest from its own centroid, as fill_empty_clusters does.

    Returns how many rows have another label than before, and how many clusters were filled.
    """
    distances = np.empty(len(rows))
    for row in range(len(rows)):
        distances[row] = squared_distance(rows, row, centroids, known.labels[row])
    filled = 0
    for cluster in range(len(sizes)):
        if sizes[cluster] > 0:
            continue
        farthest = _highest(distances)
        while distances[farthest] > 0 and sizes[known.labels[farthest]] == 1:
            distances[farthest] = 0.0
            farthest = _highest(distances)
        if distances[farthest] <= 0:
            break
        distances[farthest] = 0.0
        listed = False
        for index in range(n_changed):
            listed = listed or changes.rows[index] == farthest
        if not listed:
            changes.rows[n_changed], changes.were[n_changed] = farthest, known.labels[farthest]
            n_changed += 1
        _move_row(rows, farthest, known.labels[farthest], cluster, sums, sizes)
        known.labels[farthest] = cluster
        known.rival_slack[farthest], known.others_slack[farthest] = ALWAYS, ALWAYS
        filled += 1
    different = 0
    for index in range(n_changed):
        different += known.labels[changes.rows[index]] != changes.were[index]
    return different, filled


@part_of_kernels
def _add_up(rows: Vectors, labels: Labels, sums: Doubles) -> None:
    for cluster in range(len(sums)):
        for feature in range(sums.shape[1]):
            sums[cluster, feature] = 0.0
    for row in range(len(rows)):
        label = labels[row]
        for feature in range(rows.shape[1]):
            sums[label, feature] += np.float64(rows[row, feature])


@part_of_kernels
def _place(sums: Doubles, cluster: int, size: int, spherical: bool, centroids: Vectors, place: Vectors) -> None:
    """Put into place[0] where a centroid goes: its rows' mean, or the direction of that; it stays if there is none."""
    n_features = sums.shape[1]
    divisor = np.float64(size)
    if spherical:
        square = 0.0
        for feature in range(n_features):
            square += sums[cluster, feature] * sums[cluster, feature]
        divisor = np.sqrt(square)
    stays = size == 0 or (spherical and divisor <= SHORTEST_MEAN_DIRECTION * size)
    for feature in range(n_features):
        place[0, feature] = centroids[cluster, feature] if stays else np.float32(sums[cluster, feature] / divisor)


@part_of_kernels
def _move(sums: Doubles, sizes: Sizes, spherical: bool, scale: float, centroids: Vectors, drift: Drift) -> float:
    """Move the centroids, and note how much slack that uses up. Returns the sum of the squared shifts."""
    n_clusters, n_features = centroids.shape
    shifts, place = np.empty(n_clusters), np.empty((1, n_features), np.float32)
    together = 0.0
    for cluster in range(n_clusters):
        _place(sums, cluster, sizes[cluster], spherical, centroids, place)
        square = squared_distance(place, 0, centroids, cluster)
        for feature in range(n_features):
            centroids[cluster, feature] = place[0, feature]
        together += square
        shifts[cluster] = np.sqrt(square) * scale * (1.0 + 1e-9)
    farthest = _highest(shifts)
    largest, next_largest = shifts[farthest], 0.0
    for cluster in range(n_clusters):
        if cluster != farthest:
            next_largest = max(next_largest, shifts[cluster])
    for cluster in range(n_clusters):
        # Where the label or the rival itself moved farthest, no other moved farther than the next.
        spared = largest - next_largest if cluster == farthest else 0.0
        drift.each[cluster] += shifts[cluster]
        drift.label_and_others[cluster] += shifts[cluster] + largest - spared
        drift.not_rival[cluster] -= spared
    return together


@part_of_kernels
def _known_of(known: Knowledge, first: int, stop: int) -> Knowledge:
    labels, rivals, rival_slack, others_slack = known
    return Knowledge(labels[first:stop], rivals[first:stop], rival_slack[first:stop], others_slack[first:stop])


@compiled(
    f"void({ROWS}, {ROWS}, {BLOCKS}, float32[::1], float64[::1], float64, float64, int64, boolean, boolean, "
    "float32[:, :, ::1], int32[:, ::1], float64[:, :, ::1], int64[:, ::1], int64[::1], boolean[::1])"
)
def lloyd(
    rows: Vectors,
    near: Vectors,
    blocks: Vectors,
    lengths: Vectors,
    shift: Doubles,
    scale: float,
    tolerance: float,
    max_iterations: int,
    spherical: bool,
    update_sums: bool,
    centroids: Vectors,
    labels: Labels,
    sums: Doubles,
    sizes: Sizes,
    iterations: Sizes,
    converged: NDArray[np.bool_],
) -> None:
    """Alternate between nearest centroids and means, from the centroids given until little or nothing changes.

    Several runs go in step, some rows at a time, so that these are fetched once for all of them; what comes of a run
    is the same bits as of it alone.

    rows, near, blocks, lengths, shift, scale, spherical, update_sums: as in ReadyRows
    tolerance: a sum of squared shifts of the centroids
    centroids: (n_runs, n_clusters, n_features), changed; labels: (n_runs, n_samples), filled in
    sums: (n_runs, n_clusters, n_features) of each cluster's rows, and sizes: (n_runs, n_clusters), both zeros before
    iterations, converged: (n_runs,), get the number of iterations and whether a run stopped by itself; zeros before
    """
    n_samples, (n_runs, n_clusters, n_features) = len(rows), centroids.shape
    together = max(FEWEST_TOGETHER, NUMBERS_TOGETHER // n_features // LANES * LANES)
    faced = np.zeros((n_runs, n_clusters, blocks.shape[1]), np.float32)
    halves, longest = np.full((n_runs, rounded_up(n_clusters)), NEVER), np.empty(n_runs)
    rivals = np.full((n_runs, n_samples), np.int32(n_clusters))
    rival_slack, others_slack = np.full((n_runs, n_samples), ALWAYS), np.full((n_runs, n_samples), ALWAYS)
    labels[:] = n_clusters
    drifts = np.zeros((n_runs, 3, n_clusters + 1))
    changed, were = np.empty((n_runs, n_samples), np.int32), np.empty((n_runs, n_samples), np.int32)
    n_changed, settled = np.zeros(n_runs, np.int64), np.zeros(n_runs, np.bool_)
    work = workspace(min(together, n_samples), n_clusters, blocks.shape[1])
    found = Changes(np.empty(together, np.int32), np.empty(together, np.int32))
    running, n_running = np.arange(n_runs), n_runs
    while n_running > 0:
        for run in running[:n_running]:
            centres = Centres(centroids[run], faced[run], halves[run])
            longest[run] = _face(centres, shift, scale)
            n_changed[run] = 0
        for first in range(0, n_samples, together):
            stop = min(first + together, n_samples)
            some = Data(
                rows[first:stop],
                near[first:stop],
                blocks[first // LANES : -(-stop // LANES)],
                lengths[first:stop],
                near.size > NUMBERS_NEAR,
            )
            for run in running[:n_running]:
                centres = Centres(centroids[run], faced[run], halves[run])
                known = Knowledge(labels[run], rivals[run], rival_slack[run], others_slack[run])
                drift = Drift(drifts[run, 0], drifts[run, 1], drifts[run, 2])
                n_found = compare(some, centres, longest[run], _known_of(known, first, stop), drift, work, found)
                own, own_sums, own_sizes = labels[run], sums[run], sizes[run]
                for index in range(n_found):
                    row = first + found.rows[index]
                    _move_row(rows, row, found.were[index], own[row], own_sums, own_sizes)
                    changed[run, n_changed[run] + index], were[run, n_changed[run] + index] = row, found.were[index]
                n_changed[run] += n_found
        still = 0
        for run in running[:n_running]:
            if iterations[run] == max_iterations:
                # The centroids have moved since: labels had to be those of the centroids that are returned.
                continue
            iterations[run] += 1
            filled = 0
            if (sizes[run] == 0).any():
                known = Knowledge(labels[run], rivals[run], rival_slack[run], others_slack[run])
                changes = Changes(changed[run], were[run])
                n_changed[run], filled = _fill(
                    rows, centroids[run], known, sums[run], sizes[run], changes, n_changed[run]
                )
            if n_changed[run] == 0 or (settled[run] and filled == 0):
                converged[run] = True
                continue
            if not update_sums:
                _add_up(rows, labels[run], sums[run])
            drift = Drift(drifts[run, 0], drifts[run, 1], drifts[run, 2])
            settled[run] = _move(sums[run], sizes[run], spherical, scale, centroids[run], drift) <= tolerance
            running[still] = run
            still += 1
        n_running = still
