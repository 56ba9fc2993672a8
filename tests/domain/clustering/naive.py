"""Slow, obvious references: one loop a sum, float64 throughout, nothing shared with what they specify."""

from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import combinations, permutations
from math import log, sqrt

import numpy as np


def squared_distance(first, second):
    return sum((float(a) - float(b)) ** 2 for a, b in zip(first, second, strict=True))


def cosine_distance(first, second):
    lengths = sqrt(sum(float(a) ** 2 for a in first)) * sqrt(sum(float(b) ** 2 for b in second))
    if lengths == 0:
        return 1.0
    return 1.0 - sum(float(a) * float(b) for a, b in zip(first, second, strict=True)) / lengths


def nearest(rows, centroids):
    return [min(range(len(centroids)), key=lambda c: (squared_distance(row, centroids[c]), c)) for row in rows]


def means(rows, labels, centroids):
    moved = []
    for cluster, centroid in enumerate(centroids):
        own = [row for row, label in zip(rows, labels, strict=True) if label == cluster]
        moved.append(np.mean(np.asarray(own, dtype=np.float64), axis=0) if own else centroid)
    return np.asarray(moved, dtype=np.float32)


def lloyd(rows, centroids):
    """Lloyd's iterations until nothing changes; for seeds that never leave a cluster empty."""
    labels = None
    while True:
        assigned = nearest(rows, centroids)
        if assigned == labels:
            return labels, centroids
        labels, centroids = assigned, means(rows, assigned, centroids)


def lloyd_until_settled(rows, centroids, shift, max_iterations, fill):
    """Lloyd's iterations until an assignment changes nothing or follows a small enough shift.

    shift: the sum of squared shifts that is small enough; fill: gives rows to empty clusters, as fill_empty_clusters
    """
    labels, settled = None, False
    for iteration in range(1, max_iterations + 1):
        found = nearest(rows, centroids)
        distances = np.array([squared_distance(row, centroids[label]) for row, label in zip(rows, found, strict=True)])
        assigned = fill(np.array(found, dtype=np.int32), distances, len(centroids)).tolist()
        if assigned == labels or (settled and assigned == found):
            return assigned, centroids, iteration, True
        moved = means(rows, assigned, centroids)
        settled = sum(squared_distance(*pair) for pair in zip(moved, centroids, strict=True)) <= shift
        labels, centroids = assigned, moved
    return nearest(rows, centroids), centroids, max_iterations, False


def greedy_seeds(rows, n_seeds, first, chances):
    """Each seed is the best of some rows, drawn by squared distance to the nearest seed."""
    seeds = [first]
    while len(seeds) < n_seeds:
        closest = [min(squared_distance(row, rows[seed]) for seed in seeds) for row in rows]
        if sum(closest) == 0:
            return seeds + [row for row in range(len(rows)) if row not in seeds][: n_seeds - len(seeds)]
        drawn = [
            next(row for row in range(len(rows)) if sum(closest[: row + 1]) > chance * sum(closest))
            for chance in chances[len(seeds) - 1]
        ]
        left = [
            sum(min(near, squared_distance(row, rows[seed])) for near, row in zip(closest, rows, strict=True))
            for seed in drawn
        ]
        seeds.append(drawn[left.index(min(left))])
    return seeds


def objective(rows, labels, centroids):
    return sum(squared_distance(row, centroids[label]) for row, label in zip(rows, labels, strict=True))


def residual(row, basis):
    row = np.asarray(row, dtype=np.float64)
    for direction in basis:
        row = row - (row @ direction) * direction
    return float(row @ row)


def adjusted_rand_index(first, second):
    both = only_first = only_second = neither = 0
    for i, j in combinations(range(len(first)), 2):
        same = first[i] == first[j], second[i] == second[j]
        both += same == (True, True)
        only_first += same == (True, False)
        only_second += same == (False, True)
        neither += same == (False, False)
    if only_first == only_second == 0:
        return 1.0
    return (
        2
        * (both * neither - only_first * only_second)
        / ((both + only_first) * (only_first + neither) + (both + only_second) * (only_second + neither))
    )


def normalized_mutual_information(first, second):
    def entropy(labels):
        counts = [list(labels).count(label) / len(labels) for label in set(labels)]
        return -sum(share * log(share) for share in counts)

    ends = entropy(first) + entropy(second)
    return 1.0 if ends == 0 else 2 * (ends - entropy(list(zip(first, second, strict=True)))) / ends


def clustering_accuracy(labels, classes):
    """Try every matching; for a handful of clusters."""
    clusters, names = sorted(set(labels)), sorted(set(classes))
    names += [None] * max(0, len(clusters) - len(names))
    return max(
        sum(
            dict(zip(clusters, chosen, strict=True))[label] == name for label, name in zip(labels, classes, strict=True)
        )
        for chosen in permutations(names, len(clusters))
    ) / len(labels)


def silhouette(rows, labels, distance):
    values = []
    for i, row in enumerate(rows):
        to = {
            label: [distance(row, rows[j]) for j in range(len(rows)) if labels[j] == label and j != i]
            for label in sorted(set(labels))
        }
        if not to[labels[i]]:
            values.append(0.0)
            continue
        within = np.mean(to[labels[i]])
        next_one = min(np.mean(far) for label, far in to.items() if label != labels[i])
        larger = max(within, next_one)
        values.append((next_one - within) / larger if larger else 0.0)
    return float(np.mean(values))


def homogeneity(labels, classes):
    """One minus the part of the classes' entropy that is left within clusters."""

    def entropy(names):
        counts = [list(names).count(name) / len(names) for name in set(names)]
        return -sum(share * log(share) for share in counts)

    left = 0.0
    for cluster in set(labels):
        own = [name for label, name in zip(labels, classes, strict=True) if label == cluster]
        left += len(own) / len(labels) * entropy(own)
    return 1.0 if entropy(classes) == 0 else 1.0 - left / entropy(classes)


def clusters_of(rows, labels):
    """The rows of each cluster with their mean, all in fractions, so that equal means are equal."""
    for cluster in sorted(set(labels)):
        own = [[Fraction(float(x)) for x in row] for row, at in zip(rows, labels, strict=True) if at == cluster]
        yield own, [sum(column) / len(own) for column in zip(*own, strict=True)]


def exact_squared_distance(first, second):
    return sum((a - b) ** 2 for a, b in zip(first, second, strict=True))


def calinski_harabasz(rows, labels):
    clusters = list(clusters_of(rows, labels))
    if len(clusters) in (1, len(rows)):
        return None
    ((_, centre),) = clusters_of(rows, [0] * len(rows))
    within = sum(exact_squared_distance(row, mean) for own, mean in clusters for row in own)
    between = sum(len(own) * exact_squared_distance(mean, centre) for own, mean in clusters)
    return 1.0 if within == 0 else float(between * (len(rows) - len(clusters)) / (within * (len(clusters) - 1)))


def davies_bouldin(rows, labels):
    clusters = list(clusters_of(rows, labels))
    if len(clusters) == 1:
        return None
    widths = [sum(sqrt(exact_squared_distance(row, mean)) for row in own) / len(own) for own, mean in clusters]
    worst = []
    for i, (_, mean) in enumerate(clusters):
        mixed = [0.0]
        for j, (_, other) in enumerate(clusters):
            apart = sqrt(exact_squared_distance(mean, other))
            if apart > 0:
                mixed.append((widths[i] + widths[j]) / apart)
        worst.append(max(mixed))
    return sum(worst) / len(worst)


def exact_cosine_distance(first, second):
    """One minus the cosine with forty digits, in which the smallest distances of float32 rows are right."""
    with localcontext() as context:
        context.prec = 40
        first, second = ([Decimal(float(x)) for x in row] for row in (first, second))
        lengths = (sum(a * a for a in first) * sum(b * b for b in second)).sqrt()
        if lengths == 0:
            return 1.0
        distance = 1 - sum(a * b for a, b in zip(first, second, strict=True)) / lengths
        return float(distance) if abs(distance) > Decimal("1e-30") else 0.0


def unlike_members(rows, labels, centroids, most, draw):
    """k-means++ within each cluster, from the row nearest to the centroid; draw(cluster): the next fraction."""
    samples = []
    for cluster, centroid in enumerate(centroids):
        members = [row for row, label in enumerate(labels) if label == cluster]
        chosen = [min(members, key=lambda row: (squared_distance(rows[row], centroid), row))] if members else []
        while members and len(chosen) < most:
            apart = [min(squared_distance(rows[row], rows[other]) for other in chosen) for row in members]
            if not any(apart):
                break
            goal, total = draw(cluster) * sum(apart), 0.0
            for row, distance in zip(members, apart, strict=True):
                total += distance
                if total > goal:
                    chosen.append(row)
                    break
        samples.append(chosen)
    return samples


def medoid(rows, sample):
    mean = np.mean(np.asarray(rows, dtype=np.float64)[list(sample)], axis=0)
    return min(sample, key=lambda row: squared_distance(rows[row], mean))
