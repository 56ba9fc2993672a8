"""Which rows may have another nearest centroid than before, and whether they have, as machine code.

A row's scores, |c|²/2 − x·c for each centroid c, come from a float32 product. Its label is taken from them only if the
lowest wins by more than the product can err; the few other rows are decided by differences in float64.

From the three lowest scores follows how much nearer the nearest centroid is than its rival, the next one, and than all
others: two slacks. Until the centroids have moved by a slack together, nothing can change. When the rival may have
come nearer, these two alone are compared; when another may have, all are. (Hamerly 2010, with a second bound.)
"""

from typing import NamedTuple

import numpy as np

from domain.clustering.compilation import part_of_kernels
from domain.clustering.lanes import NEVER, Lanes, bound_gaps, error_per_length, find_three_lowest, fixed_error, room
from domain.clustering.products import LANES, lay, multiply
from domain.clustering.registers import fetch
from domain.clustering.row_sums import Index, dot, squared_distance
from domain.clustering.vectors import Doubles, Labels, Vectors

# What slacks give away for being stored in float32.
STORED = np.float32(1.0 - 2.0**-22)
# What a row costs, in comparisons with one centroid: beside them in a whole block, if it is picked, if it is compared
# with its rival alone. They only decide which way is taken, never what it finds.
APART, PICKED, PAIR = 6, 12, 14

# How many pairs ahead a row is asked for, so that it is there when its turn comes.
SOON = 12

ALWAYS = np.float32(-np.inf)


class Data(NamedTuple):
    """What is clustered, as in ReadyRows."""

    rows: Vectors
    near: Vectors
    blocks: Vectors
    lengths: Vectors
    is_far: bool  # whether there are more rows than caches hold, so that those to compare are asked for ahead


class Centres(NamedTuple):
    """The centroids, and what products take of them, where the rows are near the origin."""

    centroids: Vectors  # (n_clusters, n_features)
    faced: Vectors  # (n_clusters, features of a block), near
    halves: Vectors  # (n_clusters, rounded up to TOGETHER), half the square of each, NEVER beyond them


class Knowledge(NamedTuple):
    """What is known of each row."""

    labels: Labels  # (n_samples,)
    rivals: Labels  # (n_samples,), the next nearest when all were compared, or that one and the label were
    rival_slack: Vectors  # (n_samples,), how far label and rival may drift, counted from the beginning
    others_slack: Vectors  # (n_samples,), how far the label and any centroid but the rival may


class Drift(NamedTuple):
    """How far centroids have moved since the beginning."""

    each: Doubles  # (n_clusters + 1,), the last stands for no cluster
    label_and_others: Doubles  # (n_clusters + 1,), of a label and whichever moved farthest each time but for it …
    not_rival: Doubles  # (n_clusters + 1,), … to which that of a rival is to be added, which doesn't count


class Changes(NamedTuple):
    """Rows that have another label than before, in their order, and which they had."""

    rows: Labels
    were: Labels


class Workspace(NamedTuple):
    """Room for what is found on the way, of rows that are compared together."""

    for_all: Labels  # (n_rows + 1,), rows to compare with all centroids
    for_pairs: Labels  # (n_rows + 1,), rows to compare with their rival alone
    of_all: Changes
    of_pairs: Changes
    laid: Vectors  # (features of a block, LANES), rows that are picked, side by side
    lanes: Lanes
    lanes_of_pairs: Lanes


@part_of_kernels
def workspace(n_rows: int, n_clusters: int, n_features: int) -> Workspace:
    """Make room for so many rows; n_features: of a block."""
    return Workspace(
        np.empty(n_rows + 1, np.int32),
        np.empty(n_rows + 1, np.int32),
        Changes(np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)),
        Changes(np.empty(n_rows, np.int32), np.empty(n_rows, np.int32)),
        np.zeros((n_features, LANES), np.float32),
        room(n_clusters),
        room(1),
    )


@part_of_kernels
def compare(
    data: Data, centres: Centres, longest: float, known: Knowledge, drift: Drift, work: Workspace, changes: Changes
) -> int:
    """Label every row with its nearest centroid; list those that changed, and return how many.

    longest: of the centroids where the rows are
    """
    n_samples, n_clusters = len(data.rows), len(centres.centroids)
    n_all, n_pairs = _collect(known, drift, work.for_all, work.for_pairs)
    if n_all * (n_clusters + PICKED) + n_pairs * PAIR > n_samples * (n_clusters + APART):
        n_all, n_pairs = n_samples, 0
    n_first = _compare_all(data, centres, longest, known, drift, n_all, work)
    n_second = _compare_pairs(data, centres, longest, known, drift, n_pairs, work)
    return _merge(work.of_all, n_first, work.of_pairs, n_second, changes)


@part_of_kernels
def _stored(slack: float) -> np.float32:
    """What is kept of a slack: at most what it is; nothing, if it is used up."""
    return np.float32(slack) * STORED if slack > 0 else ALWAYS


@part_of_kernels
def _collect(known: Knowledge, drift: Drift, all_of: Labels, pairs: Labels) -> tuple[int, int]:
    """List, in their order, the rows to compare with all centroids, and those to compare with their rival alone."""
    n_all, n_pairs = 0, 0
    labels, rivals, rival_slack, others_slack = known
    each, label_and_others, not_rival = drift
    for row in range(len(labels)):
        # Unsigned, so that no index is looked at for being negative.
        label, rival = np.uint32(labels[row]), np.uint32(rivals[row])
        others = np.float64(others_slack[row]) <= label_and_others[label] + not_rival[rival]
        one = np.float64(rival_slack[row]) <= each[label] + each[rival]
        all_of[np.uint32(n_all)] = row
        n_all += others
        pairs[np.uint32(n_pairs)] = row
        n_pairs += one & ~others
    return n_all, n_pairs


@part_of_kernels
def _decide(
    rows: Vectors, row: Index, centroids: Vectors, halves: Vectors, products: Vectors, lane: int, highest: np.float32
) -> int:
    """Find the nearest of the centroids whose scores don't rule them out; ties go to the lowest index."""
    nearest, least = 0, np.inf
    for cluster in range(len(centroids)):
        if not halves[cluster] - products[cluster, lane] > highest:
            distance = squared_distance(rows, row, centroids, cluster)
            if distance < least:
                nearest, least = cluster, distance
    return nearest


@part_of_kernels
def _compare_all(
    data: Data, centres: Centres, longest: float, known: Knowledge, drift: Drift, n_active: int, work: Workspace
) -> int:
    """Label the rows to compare with all centroids; list those that changed, and return how many.

    n_active: how many they are; if that is all of them, whole blocks are taken
    """
    n_samples, n_features = data.rows.shape
    active, changes, laid, lanes = work.for_all, work.of_all, work.laid, work.lanes
    per_length, fixed = error_per_length(n_features, longest), fixed_error(n_features, longest)
    n_changed = 0
    whole = n_active == n_samples
    # Taken out of their tuples here, or each turn of the loop counts the references to them.
    rows, near, blocks, row_lengths, _ = data
    centroids, faced, halves = centres
    members, lengths, products = lanes.members, lanes.lengths, lanes.products
    for start in range(0, n_active, LANES):
        count = min(LANES, n_active - start)
        for lane in range(count):
            members[lane] = start + lane if whole else active[start + lane]
        if whole:
            multiply(faced, blocks[start // LANES], count, products)
        else:
            lay(near, members, count, laid)
            if data.is_far:
                for ahead in range(start + LANES, min(start + 2 * LANES, n_active)):
                    fetch(near, np.uint32(active[ahead]))
            multiply(faced, laid, count, products)
        find_three_lowest(halves, lanes)
        for lane in range(count):
            lengths[lane] = row_lengths[np.uint32(members[lane])]
        bound_gaps(per_length, fixed, lanes)
        n_changed = _label(rows, centroids, halves, lanes, count, known, drift, changes, n_changed)
    return n_changed


@part_of_kernels
def _label(
    rows: Vectors, centroids: Vectors, halves: Vectors, lanes: Lanes, count: int, known: Knowledge, drift: Drift,
    changes: Changes, n_changed: int,
) -> int:  # fmt: skip
    """Note the labels and slacks that the lanes have found; list what changed."""
    for lane in range(count):
        row = np.uint32(lanes.members[lane])
        label, rival = lanes.nearest[lane], lanes.next_nearest[lane]
        if not lanes.second[lane] - lanes.lowest[lane] > lanes.margins[lane]:
            highest = lanes.lowest[lane] + lanes.margins[lane]
            decided = np.int32(_decide(rows, row, centroids, halves, lanes.products, lane, highest))
            if decided != label:
                label, rival = decided, label
        own, other, was = np.uint32(label), np.uint32(rival), known.labels[row]
        known.labels[row], known.rivals[row] = label, rival
        one, any_other = np.float64(lanes.to_rival[lane]), np.float64(lanes.to_others[lane])
        known.rival_slack[row] = _stored(one + (drift.each[own] + drift.each[other])) if one > 0 else ALWAYS
        known.others_slack[row] = (
            _stored(any_other + (drift.label_and_others[own] + drift.not_rival[other])) if any_other > 0 else ALWAYS
        )
        if label != was:
            changes.rows[n_changed], changes.were[n_changed] = row, was
            n_changed += 1
    return n_changed


@part_of_kernels
def _compare_pairs(
    data: Data, centres: Centres, longest: float, known: Knowledge, drift: Drift, n_pairs: int, work: Workspace
) -> int:
    """Label rows with the nearer of their label and its rival; list those that changed, and return how many."""
    n_features = data.rows.shape[1]
    pairs, changes, lanes = work.for_pairs, work.of_pairs, work.lanes_of_pairs
    per_length, fixed = error_per_length(n_features, longest), fixed_error(n_features, longest)
    n_changed = 0
    for start in range(0, n_pairs, LANES):
        count = min(LANES, n_pairs - start)
        for lane in range(count):
            row = np.uint32(pairs[start + lane])
            if data.is_far:
                fetch(data.near, np.uint32(pairs[min(start + lane + SOON, n_pairs - 1)]))
            label, rival = np.uint32(known.labels[row]), np.uint32(known.rivals[row])
            own = centres.halves[label] - dot(data.near, row, centres.faced, label)
            other = centres.halves[rival] - dot(data.near, row, centres.faced, rival)
            lanes.lengths[lane] = data.lengths[row]
            lanes.nearest[lane] = other < own
            lanes.lowest[lane], lanes.second[lane] = min(own, other), max(own, other)
            lanes.third[lane] = NEVER
        bound_gaps(per_length, fixed, lanes)
        for lane in range(count):
            row = np.uint32(pairs[start + lane])
            label, rival = np.uint32(known.labels[row]), np.uint32(known.rivals[row])
            nearer = lanes.nearest[lane] != 0
            if not lanes.second[lane] - lanes.lowest[lane] > lanes.margins[lane]:
                to_own = squared_distance(data.rows, row, centres.centroids, label)
                to_other = squared_distance(data.rows, row, centres.centroids, rival)
                nearer = to_other < to_own or (to_other == to_own and rival < label)
            if nearer:
                left = known.others_slack[row] - (drift.label_and_others[label] + drift.not_rival[rival])
                known.others_slack[row] = _stored(left + (drift.label_and_others[rival] + drift.not_rival[label]))
                known.labels[row], known.rivals[row] = rival, label
                changes.rows[n_changed], changes.were[n_changed] = row, label
                n_changed += 1
            gap = np.float64(lanes.to_rival[lane])
            known.rival_slack[row] = _stored(gap + (drift.each[label] + drift.each[rival])) if gap > 0 else ALWAYS
    return n_changed


@part_of_kernels
def _merge(first: Changes, n_first: int, second: Changes, n_second: int, merged: Changes) -> int:
    """Put two lists into one, in the order of the rows.

    Which of the lists a row is in depends on estimates; the order in which sums are added up must not.
    """
    i, j = 0, 0
    for index in range(n_first + n_second):
        if j == n_second or (i < n_first and first.rows[i] < second.rows[j]):
            merged.rows[index], merged.were[index] = first.rows[i], first.were[i]
            i += 1
        else:
            merged.rows[index], merged.were[index] = second.rows[j], second.were[j]
            j += 1
    return n_first + n_second
