"""One step of a sweep: prepare the vectors once, then cluster for one K and measure what came out."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from domain.clustering.clusterings import best_restart
from domain.clustering.compactness import coverage, dispersion
from domain.clustering.methods import method
from domain.clustering.projection import pca
from domain.clustering.silhouette import silhouette_cosine
from domain.clustering.stability import (
    adjusted_rand_index,
    clustering_accuracy,
    normalized_mutual_information,
    stability,
)
from domain.clustering.vectors import Doubles, Labels, Vectors, check_vectors, unit_rows
from domain.sweeps import StepMetrics, SweepConfig


class Prepared(Struct, frozen=True, eq=False):
    """Vectors ready to be clustered: rows of unit length, seen along their principal components."""

    vectors: Vectors  # (n_samples, n_components), what is clustered
    components: Doubles  # (n_components, n_features)
    explained_variance_ratio: Doubles  # (n_components,)
    scatter: Vectors  # (n_samples, 2), the first two components, for looking at


class StepResult(Struct, frozen=True, eq=False):
    """The best restart for one K, and the numbers of all."""

    metrics: StepMetrics
    labels: Labels  # (n_samples,)
    centroids: Vectors  # (k, n_components)
    best_restart: int


def prepare(vectors: Vectors, config: SweepConfig) -> Prepared:
    """Bring rows to unit length and project them. Raises Rejected as check_vectors does."""
    rows = unit_rows(check_vectors(vectors))
    projection = pca(rows, config.pca_dim or min(rows.shape))
    projected = projection.projected if config.pca_dim else rows
    plane = projection.projected[:, :2]
    return Prepared(
        vectors=projected,
        components=projection.components,
        explained_variance_ratio=projection.explained_variance_ratio,
        scatter=np.ascontiguousarray(plane if plane.shape[1] == 2 else np.pad(plane, ((0, 0), (0, 1)))),
    )


def run_step(prepared: Prepared, k: int, config: SweepConfig, true_labels: Sequence[str] | None) -> StepResult:
    """Cluster with every restart and measure: stability over all restarts, everything else on the best one."""
    restarts = method(config.method).fit(
        prepared.vectors, k, config.restarts, config.max_iterations, config.seed, config.parameters
    )
    number = best_restart(restarts)
    chosen = restarts[number]
    stable = stability(restarts)
    metrics = StepMetrics(
        k=k,
        objective=chosen.objective,
        iterations=chosen.iterations,
        converged=chosen.converged,
        empty_clusters=chosen.empty_clusters,
        silhouette=silhouette_cosine(prepared.vectors, chosen.labels),
        stability_ari_mean=stable.ari_mean,
        stability_ari_std=stable.ari_std,
        dispersion=dispersion(prepared.vectors, chosen.labels, chosen.centroids),
        coverage=coverage(prepared.vectors, chosen.labels, chosen.centroids, config.coverage_threshold),
        **_agreement(chosen.labels, true_labels),
    )
    return StepResult(metrics, chosen.labels, chosen.centroids, number)


def _agreement(labels: Labels, true_labels: Sequence[str] | None) -> dict[str, float]:
    if true_labels is None:
        return {}
    _, truth = np.unique(np.asarray(true_labels), return_inverse=True)
    return {
        "acc": clustering_accuracy(labels, truth),
        "nmi": normalized_mutual_information(truth, labels),
        "ari": adjusted_rand_index(truth, labels),
    }
