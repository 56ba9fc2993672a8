"""Lloyd's iterations as machine code, exact: no label hangs on how a product is rounded.

A row's scores, |c|²/2 − x·c for each centroid c, come from a float32 product. Its label is taken from them only if the
lowest wins by more than the product can err; the few other rows are decided by differences in float64.

From the three lowest scores follows how much nearer the nearest centroid is than its rival, the next one, and than all
others: two slacks. Until the centroids have moved by a slack together, nothing can change. When the rival may have
come nearer, these two alone are compared; when another may have, all are. (Hamerly 2010, with a second bound.)
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from domain.clustering.compilation import BLOCKS, ROWS, compiled, part_of_kernels, rough_part_of_kernels
from domain.clustering.vectors import Doubles, Labels, Vectors

Sizes = NDArray[np.int64]
Index = Any
"""A whole number of any kind."""

LANES = 64  # rows that go into one product
SIDE = 8  # of the square pieces in which rows are laid side by side

UNIT_ROUNDOFF = 2.0**-24  # of float32
SMALLEST_NORMAL = 2.0**-126  # of float32
# What slacks give away for being computed in float32, relative to the distances, and for being stored in it.
CAUTION = np.float32(2.0**-17)
STORED = np.float32(1.0 - 2.0**-22)
# What a row costs, in comparisons with a centroid: beside them in a whole block, if it is picked, with its rival alone.
APART, GATHERED, PAIR = 6, 12, 14
# Beneath this mean length, unit rows cancel each other out and their mean has no direction.
SHORTEST_MEAN_DIRECTION = 1e-7

NEVER = np.float32(np.inf)
ALWAYS = np.float32(-np.inf)


@compiled(f"void({ROWS}, float64[::1])")
def average(rows: Vectors, mean: Doubles) -> None:
    """Average the rows, added up in their order; mean: (n_features,)."""
    mean[:] = 0.0
    for row in range(len(rows)):
        for feature in range(rows.shape[1]):
            mean[feature] += np.float64(rows[row, feature])
    for feature in range(len(mean)):
        mean[feature] /= len(rows)


@compiled(f"float64({ROWS}, float64[::1])")
def scatter_about(rows: Vectors, mean: Doubles) -> float:
    """Add up the squared distances of the rows from their mean, feature by feature in the order of the rows."""
    squares = np.zeros(rows.shape[1])
    for row in range(len(rows)):
        for feature in range(rows.shape[1]):
            away = np.float64(rows[row, feature]) - mean[feature]
            squares[feature] += away * away
    total = 0.0
    for feature in range(rows.shape[1]):
        total += squares[feature]
    return total


@rough_part_of_kernels
def _dot(rows: Vectors, row: Index, others: Vectors, other: Index) -> np.float32:
    product = np.float32(0.0)
    for feature in range(rows.shape[1]):
        product += rows[row, feature] * others[other, feature]
    return product


@compiled(f"void({ROWS}, float32[::1])")
def measure_lengths(near: Vectors, lengths: Vectors) -> None:
    """Bound the length of each row from above, (n_samples,), also where squares are too small for float32."""
    n_features = near.shape[1]
    for row in range(len(near)):
        length = np.sqrt(np.float64(_dot(near, row, near, row)))
        lengths[row] = np.float32(length * (1.0 + UNIT_ROUNDOFF * (n_features + 8)) + n_features * 1e-22)


@compiled(f"void({ROWS}, float32[:, :, ::1])")
def lay_side_by_side(near: Vectors, blocks: Vectors) -> None:
    """Turn rows into blocks (n_blocks, n_features, LANES); places without a row or feature stay as they are."""
    n_samples, n_features = near.shape
    for first_row in range(0, n_samples, LANES):
        # Some features at a time: what is written stays in the nearest cache.
        for first in range(0, n_features, 16):
            for row in range(first_row, min(first_row + LANES, n_samples)):
                for feature in range(first, min(first + 16, n_features)):
                    blocks[first_row // LANES, feature, row - first_row] = near[row, feature]


class Data(NamedTuple):
    """What is clustered, as in ReadyRows."""

    rows: Vectors
    near: Vectors
    blocks: Vectors
    lengths: Vectors


class Centres(NamedTuple):
    """The centroids, and what products take of them, where the rows are near the origin."""

    centroids: Vectors  # (n_clusters, n_features)
    faced: Vectors  # (n_clusters, features of a block), near
    halves: Vectors  # (n_clusters,), half the square of each


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


class Lanes(NamedTuple):
    """Room for LANES rows under comparison."""

    members: Labels  # (LANES,), which rows they are
    lengths: Vectors  # (LANES,)
    scores: Vectors  # (n_clusters, LANES)
    lowest: Vectors  # (LANES,), scores
    second: Vectors
    third: Vectors
    nearest: Labels  # (LANES,), clusters
    next_nearest: Labels
    margins: Vectors  # (LANES,), by how much two scores must differ for the lower to be the lower
    to_rival: Vectors  # (LANES,), how much farther the second is at least
    to_others: Vectors  # (LANES,), how much farther the third is at least


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
def _per_length(n_features: int, longest: float) -> np.float32:
    """Twice the error of a score for each length of a row: every term is rounded, and both factors were before."""
    return np.float32(2 * UNIT_ROUNDOFF * (n_features + 16) * longest)


@part_of_kernels
def _fixed(n_features: int, longest: float) -> np.float32:
    """Twice the error of a score that there is whatever the row."""
    return np.float32(2 * (UNIT_ROUNDOFF * 6 * longest * longest + (n_features + 16) * SMALLEST_NORMAL))


@part_of_kernels
def _stored(slack: float) -> np.float32:
    """What is kept of a slack: at most what it is; nothing, if it is used up."""
    return np.float32(slack) * STORED if slack > 0 else ALWAYS


@part_of_kernels
def _squared_distance(rows: Vectors, row: Index, centroids: Vectors, cluster: Index) -> float:
    total = 0.0
    for feature in range(rows.shape[1]):
        difference = np.float64(rows[row, feature]) - np.float64(centroids[cluster, feature])
        total += difference * difference
    return total


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


def _tile(clusters: int, lanes: int) -> Any:
    """Make a part that multiplies so many centroids with so many rows of a block, sums kept in registers.

    faced: (n_clusters, n_features), from `cluster` on; block: (n_features, LANES), from `lane` on
    scores: (n_clusters, LANES), gets the products there
    """
    numbers = ir.VectorType(ir.FloatType(), lanes)
    index = ir.IntType(32)

    @intrinsic
    def multiply(_: Any, faced: Any, cluster: Any, block: Any, lane: Any, scores: Any) -> Any:  # noqa: ARG001 - numba gives types
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right, found = (
                context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 2, 4)
            )
            first, start = arguments[1], arguments[3]
            n_features, n_lanes = (cgutils.unpack_tuple(builder, array.shape)[1] for array in (left, right))
            which = [builder.add(first, ir.Constant(first.type, number)) for number in range(clusters)]
            rows = [builder.gep(left.data, [builder.mul(each, n_features)]) for each in which]
            sums = [cgutils.alloca_once_value(builder, numbers(None)) for _ in which]
            nothing, everywhere = numbers(ir.Undefined), ir.VectorType(index, lanes)(None)
            with cgutils.for_range(builder, n_features) as feature:
                place = builder.add(builder.mul(feature.index, n_lanes), start)
                values = builder.load(builder.bitcast(builder.gep(right.data, [place]), numbers.as_pointer()), align=4)
                for row, total in zip(rows, sums, strict=True):
                    factor = builder.load(builder.gep(row, [feature.index]))
                    factors = builder.shuffle_vector(
                        builder.insert_element(nothing, factor, index(0)), nothing, everywhere
                    )
                    product = builder.fmul(factors, values, flags=("contract",))
                    builder.store(builder.fadd(product, builder.load(total), flags=("contract",)), total)
            for each, total in zip(which, sums, strict=True):
                place = builder.add(builder.mul(each, n_lanes), start)
                target = builder.bitcast(builder.gep(found.data, [place]), numbers.as_pointer())
                builder.store(builder.load(total), target, align=4)
            return context.get_dummy_value()

        return types.void(faced, types.intp, block, types.intp, scores), generate

    return multiply


_six_centroids, _four_centroids = _tile(6, 16), _tile(4, 16)
_two_centroids, _one_centroid = _tile(2, 32), _tile(1, 64)


@part_of_kernels
def _multiply(faced: Vectors, block: Vectors, scores: Vectors) -> None:
    """Multiply the rows of a block, (n_features, LANES), with all centroids: scores (n_clusters, LANES).

    What BLAS does of such small tables is mostly to bring them into the order that blocks have already.
    """
    n_clusters = len(faced)
    cluster = 0
    while n_clusters - cluster >= 6:
        for lane in range(0, LANES, 16):
            _six_centroids(faced, cluster, block, lane, scores)
        cluster += 6
    if n_clusters - cluster >= 4:
        for lane in range(0, LANES, 16):
            _four_centroids(faced, cluster, block, lane, scores)
        cluster += 4
    if n_clusters - cluster >= 2:
        for lane in range(0, LANES, 32):
            _two_centroids(faced, cluster, block, lane, scores)
        cluster += 2
    if n_clusters - cluster >= 1:
        _one_centroid(faced, cluster, block, 0, scores)


@intrinsic
def _lay_some(_: Any, near: Any, members: Any, lane: Any, feature: Any, block: Any) -> Any:
    """Lay SIDE features of SIDE rows side by side, from a lane and a feature on, turned within registers.

    near: (n_samples, n_features), its rows members[lane], …; block: (n_features, LANES)
    """
    numbers, index = ir.VectorType(ir.FloatType(), SIDE), ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, rows, laid = (
            context.make_array(signature.args[place])(context, builder, arguments[place]) for place in (0, 1, 4)
        )
        first_lane, first_feature = arguments[2], arguments[3]
        n_features, n_lanes = (cgutils.unpack_tuple(builder, array.shape)[1] for array in (given, laid))
        vectors = []
        for number in range(SIDE):
            place = builder.add(first_lane, ir.Constant(first_lane.type, number))
            row = builder.zext(builder.load(builder.gep(rows.data, [place])), first_lane.type)
            start = builder.gep(given.data, [builder.add(builder.mul(row, n_features), first_feature)])
            vectors.append(builder.load(builder.bitcast(start, numbers.as_pointer()), align=4))
        # Each turn swaps halves, then quarters, then neighbours, between rows that lie so far apart (Eklundh 1972).
        apart = SIDE // 2
        while apart:
            places = range(SIDE)
            low = [place if not place & apart else SIDE + place - apart for place in places]
            high = [place + apart if not place & apart else SIDE + place for place in places]
            for number in places:
                if not number & apart:
                    one, other = vectors[number], vectors[number + apart]
                    for target, chosen in ((number, low), (number + apart, high)):
                        mask = ir.Constant(ir.VectorType(index, SIDE), [index(place) for place in chosen])
                        vectors[target] = builder.shuffle_vector(one, other, mask)
            apart //= 2
        for number, vector in enumerate(vectors):
            feature_there = builder.add(first_feature, ir.Constant(first_feature.type, number))
            place = builder.add(builder.mul(feature_there, n_lanes), first_lane)
            target = builder.bitcast(builder.gep(laid.data, [place]), numbers.as_pointer())
            builder.store(vector, target, align=4)
        return context.get_dummy_value()

    return types.void(near, members, types.intp, types.intp, block), generate


@part_of_kernels
def _lay(near: Vectors, members: Labels, block: Vectors) -> None:
    """Lay LANES rows side by side into a block, (n_features, LANES)."""
    n_features = near.shape[1]
    for lane in range(0, LANES, SIDE):
        for feature in range(0, n_features - SIDE + 1, SIDE):
            _lay_some(near, members, lane, feature, block)
    for feature in range(n_features // SIDE * SIDE, n_features):
        for lane in range(LANES):
            block[feature, lane] = near[np.uint32(members[lane]), feature]


@part_of_kernels
def _insert(
    score: np.float32,
    cluster: np.int32,
    lowest: np.float32,
    second: np.float32,
    third: np.float32,
    nearest: np.int32,
    rival: np.int32,
) -> tuple[np.float32, np.float32, np.float32, np.int32, np.int32]:
    """Put a score among the three lowest so far, and its cluster among the two nearest; ties stay behind."""
    wins, beats_rival = score < lowest, score < second
    above = score if score > second else second
    return (
        score if wins else lowest,
        lowest if wins else (score if beats_rival else second),
        above if above < third else third,
        cluster if wins else nearest,
        nearest if wins else (cluster if beats_rival else rival),
    )


@part_of_kernels
def _find_three_lowest(halves: Vectors, lanes: Lanes) -> None:
    """Find each lane's three lowest scores, |c|²/2 − x·c, all of which take the place of the products."""
    for lane in range(LANES):
        lanes.lowest[lane], lanes.second[lane], lanes.third[lane] = NEVER, NEVER, NEVER
        lanes.nearest[lane], lanes.next_nearest[lane] = 0, 0
    n_clusters = len(halves)
    # Some clusters at a time: what is known of a lane is fetched and put back once for all of them.
    for cluster in range(0, n_clusters - 3, 4):
        one, two, three, four = halves[cluster], halves[cluster + 1], halves[cluster + 2], halves[cluster + 3]
        a, b, c, d = (
            lanes.scores[cluster],
            lanes.scores[cluster + 1],
            lanes.scores[cluster + 2],
            lanes.scores[cluster + 3],
        )
        for lane in range(LANES):
            known = (
                lanes.lowest[lane],
                lanes.second[lane],
                lanes.third[lane],
                lanes.nearest[lane],
                lanes.next_nearest[lane],
            )
            p, q, r, s = one - a[lane], two - b[lane], three - c[lane], four - d[lane]
            a[lane], b[lane], c[lane], d[lane] = p, q, r, s
            known = _insert(p, np.int32(cluster), *known)
            known = _insert(q, np.int32(cluster + 1), *known)
            known = _insert(r, np.int32(cluster + 2), *known)
            known = _insert(s, np.int32(cluster + 3), *known)
            lanes.lowest[lane], lanes.second[lane], lanes.third[lane], lanes.nearest[lane], lanes.next_nearest[lane] = (
                known
            )
    for cluster in range(n_clusters // 4 * 4, n_clusters):
        half, own = halves[cluster], lanes.scores[cluster]
        for lane in range(LANES):
            known = (
                lanes.lowest[lane],
                lanes.second[lane],
                lanes.third[lane],
                lanes.nearest[lane],
                lanes.next_nearest[lane],
            )
            score = half - own[lane]
            own[lane] = score
            known = _insert(score, np.int32(cluster), *known)
            lanes.lowest[lane], lanes.second[lane], lanes.third[lane], lanes.nearest[lane], lanes.next_nearest[lane] = (
                known
            )


@part_of_kernels
def _bound_gaps(per_length: np.float32, fixed: np.float32, lanes: Lanes) -> None:
    """Bound from below how much farther the second and the third are than the nearest, from their scores.

    |x − b| − |x − a| is (|x − b|² − |x − a|²) / (|x − b| + |x − a|), and the sum of two numbers is at most the root of
    twice the sum of their squares.
    """
    one, two, four, nothing = np.float32(1.0), np.float32(2.0), np.float32(4.0), np.float32(0.0)
    for lane in range(LANES):
        length, low, second, third = lanes.lengths[lane], lanes.lowest[lane], lanes.second[lane], lanes.third[lane]
        margin = per_length * length + fixed
        high = third if third < NEVER else second
        square = length * length * (one + CAUTION) + (margin + margin)
        both = np.sqrt(max(four * (square + low + high), nothing))
        factor, loss = two * (one - CAUTION) / both, both * CAUTION
        lanes.margins[lane] = margin
        lanes.to_rival[lane] = (second - low - margin) * factor - loss if second < NEVER else NEVER
        lanes.to_others[lane] = (third - low - margin) * factor - loss if third < NEVER else NEVER


@part_of_kernels
def _decide(rows: Vectors, row: Index, centroids: Vectors, scores: Vectors, lane: int, highest: np.float32) -> int:
    """Find the nearest of the centroids whose scores don't rule them out; ties go to the lowest index."""
    nearest, least = 0, np.inf
    for cluster in range(len(centroids)):
        if not scores[cluster, lane] > highest:
            distance = _squared_distance(rows, row, centroids, cluster)
            if distance < least:
                nearest, least = cluster, distance
    return nearest


@part_of_kernels
def _compare_all(
    data: Data, centres: Centres, longest: float, known: Knowledge, drift: Drift, active: Labels, n_active: int,
    changes: Changes,
) -> int:  # fmt: skip
    """Label rows with the nearest of all centroids; list those that changed, and return how many.

    active: the rows to label, n_active of them; if that is all of them, whole blocks are taken
    """
    (n_samples, n_features), n_clusters = data.rows.shape, len(centres.centroids)
    laid = np.zeros((data.blocks.shape[1], LANES), np.float32)
    lanes = _room(n_clusters)
    per_length, fixed = _per_length(n_features, longest), _fixed(n_features, longest)
    n_changed = 0
    whole = n_active == n_samples
    # Taken out of their tuples here, or each turn of the loop counts the references to them.
    rows, near, blocks, row_lengths = data
    centroids, faced, halves = centres
    members, lengths, scores = lanes.members, lanes.lengths, lanes.scores
    for start in range(0, n_active, LANES):
        count = min(LANES, n_active - start)
        for lane in range(count):
            members[lane] = start + lane if whole else active[start + lane]
        if whole:
            _multiply(faced, blocks[start // LANES], scores)
        else:
            _lay(near, members, laid)
            _multiply(faced, laid, scores)
        _find_three_lowest(halves, lanes)
        for lane in range(count):
            lengths[lane] = row_lengths[np.uint32(members[lane])]
        _bound_gaps(per_length, fixed, lanes)
        n_changed = _label(rows, centroids, lanes, count, known, drift, changes, n_changed)
    return n_changed


@part_of_kernels
def _room(n_clusters: int) -> Lanes:
    return Lanes(
        np.zeros(LANES, np.int32), np.ones(LANES, np.float32), np.empty((n_clusters, LANES), np.float32),
        np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32),
        np.empty(LANES, np.int32), np.empty(LANES, np.int32), np.empty(LANES, np.float32),
        np.empty(LANES, np.float32), np.empty(LANES, np.float32),
    )  # fmt: skip


@part_of_kernels
def _label(
    rows: Vectors, centroids: Vectors, lanes: Lanes, count: int, known: Knowledge, drift: Drift, changes: Changes,
    n_changed: int,
) -> int:  # fmt: skip
    """Note the labels and slacks that the lanes have found; list what changed."""
    for lane in range(count):
        row = np.uint32(lanes.members[lane])
        label, rival = lanes.nearest[lane], lanes.next_nearest[lane]
        if not lanes.second[lane] - lanes.lowest[lane] > lanes.margins[lane]:
            highest = lanes.lowest[lane] + lanes.margins[lane]
            decided = np.int32(_decide(rows, row, centroids, lanes.scores, lane, highest))
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
    data: Data, centres: Centres, longest: float, known: Knowledge, drift: Drift, pairs: Labels, n_pairs: int,
    changes: Changes,
) -> int:  # fmt: skip
    """Label rows with the nearer of their label and its rival; list those that changed, and return how many."""
    n_features = data.rows.shape[1]
    lanes = _room(1)
    per_length, fixed = _per_length(n_features, longest), _fixed(n_features, longest)
    n_changed = 0
    for start in range(0, n_pairs, LANES):
        count = min(LANES, n_pairs - start)
        for lane in range(count):
            row = np.uint32(pairs[start + lane])
            label, rival = np.uint32(known.labels[row]), np.uint32(known.rivals[row])
            own = centres.halves[label] - _dot(data.near, row, centres.faced, label)
            other = centres.halves[rival] - _dot(data.near, row, centres.faced, rival)
            lanes.lengths[lane] = data.lengths[row]
            lanes.nearest[lane] = other < own
            lanes.lowest[lane], lanes.second[lane] = min(own, other), max(own, other)
            lanes.third[lane] = NEVER
        _bound_gaps(per_length, fixed, lanes)
        for lane in range(count):
            row = np.uint32(pairs[start + lane])
            label, rival = np.uint32(known.labels[row]), np.uint32(known.rivals[row])
            nearer = lanes.nearest[lane] != 0
            if not lanes.second[lane] - lanes.lowest[lane] > lanes.margins[lane]:
                to_own = _squared_distance(data.rows, row, centres.centroids, label)
                to_other = _squared_distance(data.rows, row, centres.centroids, rival)
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
        distances[row] = _squared_distance(rows, row, centroids, known.labels[row])
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
        square = _squared_distance(place, 0, centroids, cluster)
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


@compiled(
    f"UniTuple(int64, 2)({ROWS}, {ROWS}, {BLOCKS}, float32[::1], float64[::1], float64, float64, int64, boolean, "
    "boolean, float32[:, ::1], int32[::1], float64[:, ::1], int64[::1])"
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
) -> tuple[int, bool]:
    """Alternate between nearest centroids and means, from the centroids given until little or nothing changes.

    rows, near, blocks, lengths, shift, scale, spherical, update_sums: as in ReadyRows
    tolerance: a sum of squared shifts of the centroids
    centroids: (n_clusters, n_features), changed; labels: (n_samples,), filled in
    sums: (n_clusters, n_features) of each cluster's rows, and sizes: (n_clusters,), both zeros before
    Returns the number of iterations and whether it stopped by itself.
    """
    n_samples, n_clusters = len(rows), len(centroids)
    data = Data(rows, near, blocks, lengths)
    faced = np.zeros((n_clusters, blocks.shape[1]), np.float32)
    centres = Centres(centroids, faced, np.empty(n_clusters, np.float32))
    known = Knowledge(
        labels, np.empty(n_samples, np.int32), np.empty(n_samples, np.float32), np.empty(n_samples, np.float32)
    )
    for row in range(n_samples):
        known.labels[row], known.rivals[row] = n_clusters, n_clusters
        known.rival_slack[row], known.others_slack[row] = ALWAYS, ALWAYS
    drift = Drift(np.zeros(n_clusters + 1), np.zeros(n_clusters + 1), np.zeros(n_clusters + 1))
    all_of, pairs = np.empty(n_samples + 1, np.int32), np.empty(n_samples + 1, np.int32)
    of_all = Changes(np.empty(n_samples, np.int32), np.empty(n_samples, np.int32))
    of_pairs = Changes(np.empty(n_samples, np.int32), np.empty(n_samples, np.int32))
    changes = Changes(np.empty(n_samples, np.int32), np.empty(n_samples, np.int32))
    settled, iteration = False, 0
    while True:
        longest = _face(centres, shift, scale)
        n_all, n_pairs = _collect(known, drift, all_of, pairs)
        if n_all * (n_clusters + GATHERED) + n_pairs * PAIR > n_samples * (n_clusters + APART):
            n_all, n_pairs = n_samples, 0
        n_first = _compare_all(data, centres, longest, known, drift, all_of, n_all, of_all)
        n_second = _compare_pairs(data, centres, longest, known, drift, pairs, n_pairs, of_pairs)
        n_changed = _merge(of_all, n_first, of_pairs, n_second, changes)
        for index in range(n_changed):
            row = changes.rows[index]
            _move_row(rows, row, changes.were[index], labels[row], sums, sizes)
        if iteration == max_iterations:
            # The centroids have moved since: labels had to be those of the centroids that are returned.
            return iteration, False
        iteration += 1
        filled = 0
        empty = 0
        for cluster in range(n_clusters):
            empty += sizes[cluster] == 0
        if empty > 0:
            n_changed, filled = _fill(rows, centroids, known, sums, sizes, changes, n_changed)
        if n_changed == 0 or (settled and filled == 0):
            return iteration, True
        if not update_sums:
            _add_up(rows, labels, sums)
        settled = _move(sums, sizes, spherical, scale, centroids, drift) <= tolerance


@compiled(f"float64({ROWS}, int32[::1], {ROWS})")
def add_up_squared_distances(rows: Vectors, labels: Labels, centroids: Vectors) -> float:
    """Add up the squared distances of rows to their own centroids, by differences, in the order of the rows."""
    total = 0.0
    for row in range(len(rows)):
        total += _squared_distance(rows, row, centroids, labels[row])
    return total
