"""What is measured of one step of a sweep: on the rows that were clustered, after preparation."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.clustering.clusterings import Clustering
from domain.clustering.compactness import compactness
from domain.clustering.gap import gap_statistic
from domain.clustering.methods import Method
from domain.clustering.own_distance import nearest_rows, own_distances
from domain.clustering.prediction_strength import prediction_strength
from domain.clustering.selection import GapParameters, PredictionParameters, rule_of
from domain.clustering.separation import separation
from domain.clustering.silhouette import silhouette_cosine, silhouette_euclidean
from domain.clustering.stability import agreement, stability
from domain.clustering.vectors import Labels, Vectors
from domain.sweeps import ExternalMetrics, InternalMetrics, StepMetrics, SweepConfig

REPRESENTATIVES_PER_CLUSTER = 8


class StepResult(Struct, frozen=True, eq=False):
    """The best restart for one K, and the numbers of all."""

    metrics: StepMetrics
    labels: Labels  # (n_samples,), −1 for noise
    centroids: Vectors  # (k, n_components)
    best_restart: int
    representatives: NDArray[np.int32]  # (k, 8) rows nearest to their cluster by the method's distance, −1 for none


def measure(
    rows: Vectors,
    restarts: Sequence[Clustering],
    number: int,
    chosen: Clustering,
    config: SweepConfig,
    method: Method,
    true_labels: Sequence[str] | None,
) -> StepResult:
    """Measure stability over all restarts, everything else on the chosen clustering; what is kept is all its own.

    rows: (n_samples, n_features), those that were clustered; number: of the restart that was chosen
    Rows that are noise have no part in silhouettes, dispersion and indices; they are not covered, accuracy counts them
    as wrong, and for the other agreements they are one more cluster.
    """
    k = len(chosen.centroids)
    stable = stability(restarts)
    clustered = chosen.labels >= 0
    inside, labels = (rows, chosen.labels) if clustered.all() else (rows[clustered], chosen.labels[clustered])
    compact = compactness(inside, labels, chosen.centroids, config.coverage_threshold)
    metrics = StepMetrics(
        k=k,
        objective=chosen.objective,
        iterations=chosen.iterations,
        converged=chosen.converged,
        empty_clusters=chosen.empty_clusters,
        silhouette=silhouette_cosine(inside, labels),
        stability_ari_mean=stable.ari_mean,
        stability_ari_std=stable.ari_std,
        dispersion=compact.dispersion,
        coverage=compact.coverage * len(inside) / len(rows),
        internal=_internal(rows, inside, labels, chosen, config, method),
        **_agreement(chosen.labels, true_labels),
    )
    distances = own_distances(rows, chosen, method.distance)
    stand = nearest_rows(distances, chosen.labels, k, REPRESENTATIVES_PER_CLUSTER)
    return StepResult(metrics, chosen.labels, chosen.centroids, number, stand)


def _internal(
    rows: Vectors, inside: Vectors, labels: Labels, chosen: Clustering, config: SweepConfig, method: Method
) -> InternalMetrics:
    asked = {rule: _parameters(config, rule) for rule in (config.choose_by, *config.also_measured)}
    found: dict[str, Any] = {}
    if "silhouette-euclidean" in asked:
        found["silhouette_euclidean"] = silhouette_euclidean(inside, labels)
    if "gap" in asked:
        found |= _gap(rows, chosen, config, method, rule_of("gap").check(asked["gap"]))
    if "prediction-strength" in asked:
        parameters: PredictionParameters = rule_of("prediction-strength").check(asked["prediction-strength"])
        strength = prediction_strength(
            rows,
            len(chosen.centroids),
            lambda half: _again(half, len(chosen.centroids), config, method, parameters.restarts),
            splits=parameters.splits,
            seed=config.seed,
            distance=method.distance,
        )
        found |= {"prediction_strength": strength.mean, "prediction_strength_std": strength.std}
    separate = separation(inside, labels)
    return InternalMetrics(
        calinski_harabasz=separate.calinski_harabasz,
        davies_bouldin=separate.davies_bouldin,
        noise=len(rows) - len(inside),
        bic=chosen.bic,
        **found,
    )


def _parameters(config: SweepConfig, rule: str) -> Mapping[str, Any]:
    return config.choose_parameters if rule == config.choose_by else {}


def _gap(
    rows: Vectors, chosen: Clustering, config: SweepConfig, method: Method, parameters: GapParameters
) -> dict[str, float | None]:
    k = len(chosen.centroids)
    found = gap_statistic(
        rows,
        chosen,
        lambda reference: _again(reference, k, config, method, parameters.restarts),
        references=parameters.references,
        seed=config.seed,
        distance=method.distance,
    )
    return {"gap": found.gap, "gap_s": found.s, "log_w": found.log_w, "log_w_expected": found.log_w_expected}


def _again(rows: Vectors, k: int, config: SweepConfig, method: Method, restarts: int | None) -> list[Clustering]:
    """Cluster other rows as the step's were."""
    return method.fit(rows, k, restarts or config.restarts, config.max_iterations, config.seed, config.parameters)


def _agreement(labels: Labels, true_labels: Sequence[str] | None) -> dict[str, Any]:
    if true_labels is None:
        return {}
    found = agreement(labels, _numbered(tuple(true_labels)))
    return {
        "acc": found.accuracy,
        "nmi": found.normalized_mutual_information,
        "ari": found.adjusted_rand_index,
        "external": ExternalMetrics(
            homogeneity=found.homogeneity, completeness=found.completeness, v_measure=found.v_measure
        ),
    }


@lru_cache(maxsize=4)
def _numbered(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Number classes in the order of their names, once for all steps; by a table, since sorting takes longer."""
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.fromiter(map(numbers.__getitem__, names), dtype=np.int64, count=len(names))
