"""Whole studies, from vectors to every measure, beside the same composed from scikit-learn; time and memory."""

import asyncio
import resource
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.clustering_data import COMPONENTS, made_up, ratio, seconds
from benchmarks.clustering_sweeps import K_VALUES, RESTARTS
from domain.clustering.step import Prepared, StepResult, prepare, run_step
from domain.sweeps import SweepConfig
from infrastructure.compute import LocalCompute


def our_study(vectors: Any, labels: Sequence[str] | None) -> Any:
    """Preparation, sweep and metrics, as a sweep's steps compute them."""
    config = SweepConfig(
        method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=min(COMPONENTS, *vectors.shape), seed=0
    )
    return run_steps(prepare(vectors, config), config, labels)


def run_steps(prepared: Prepared, config: SweepConfig, labels: Sequence[str] | None) -> list[StepResult]:
    """As a sweep runs them here: one task each, the longest first."""

    async def all_steps() -> list[StepResult]:
        compute = LocalCompute()
        try:
            return await asyncio.gather(
                *(compute.run(run_step, prepared, k, config, labels) for k in sorted(config.k_values, reverse=True))
            )
        finally:
            compute.close()

    return asyncio.run(all_steps())


def sklearn_study(vectors: Any, labels: Sequence[str] | None) -> Any:
    """The same numbers, composed from scikit-learn."""
    from itertools import combinations

    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    rows = PCA(min(COMPONENTS, *vectors.shape), svd_solver="covariance_eigh").fit_transform(normalize(vectors))
    measured = []
    for k in K_VALUES:
        fits = [KMeans(k, n_init=1, random_state=restart).fit(rows) for restart in range(RESTARTS)]
        chosen = min(fits, key=lambda fit: fit.inertia_)
        distances = metrics.pairwise.paired_cosine_distances(rows, chosen.cluster_centers_[chosen.labels_])
        measured.append([
            statistics.mean(metrics.adjusted_rand_score(a.labels_, b.labels_) for a, b in combinations(fits, 2)),
            metrics.silhouette_score(rows, chosen.labels_, metric="cosine"),
            distances.mean(),
            (distances <= 0.2).mean(),
            metrics.calinski_harabasz_score(rows, chosen.labels_),
            metrics.davies_bouldin_score(rows, chosen.labels_),
        ])  # fmt: skip
        if labels is not None:
            linear_sum_assignment(metrics.cluster.contingency_matrix(labels, chosen.labels_), maximize=True)
            metrics.homogeneity_completeness_v_measure(labels, chosen.labels_)
            metrics.normalized_mutual_info_score(labels, chosen.labels_)
            metrics.adjusted_rand_score(labels, chosen.labels_)
    return measured


def whole(vectors: Any, labels: Sequence[str] | None, rounds: int) -> dict[str, Any]:
    """One line: a whole study of ours and of scikit-learn, in turn; and ours step by step."""
    config = SweepConfig(
        method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=min(COMPONENTS, *vectors.shape), seed=0
    )
    ours, theirs, by_step = [], [], []
    for _ in range(rounds):
        took, found = seconds(lambda: our_study(vectors, labels))
        ours.append(took)
        took, beside = seconds(lambda: sklearn_study(vectors, labels))
        theirs.append(took)
        prepared = prepare(vectors, config)
        took, _ = seconds(lambda prepared=prepared: [run_step(prepared, k, config, labels) for k in K_VALUES])
        by_step.append(took)
    silhouettes = [step.metrics.silhouette for step in found]
    return {
        "n": len(vectors),
        "d": vectors.shape[1],
        "ours_s": statistics.median(ours),
        "step_by_step_s": statistics.median(by_step),
        "sklearn_s": statistics.median(theirs),
        "ratio": ratio(theirs, ours),
        "silhouette_mean": statistics.mean(silhouettes),
        "sklearn_silhouette": statistics.mean(each[1] for each in beside),
        "stability_mean": statistics.mean(step.metrics.stability_ari_mean for step in found),
        "sklearn_stability": statistics.mean(each[0] for each in beside),
    }


def large(kind: str, n_samples: int, n_features: int) -> dict[str, Any]:
    """Run in a process of its own: a whole study, and how much memory it took at its highest."""
    our_study(made_up("blobs", 200), None)
    vectors = made_up(kind, n_samples, n_features)
    before = _peak_mb()
    config = SweepConfig(method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=COMPONENTS, seed=0)
    preparing, prepared = seconds(lambda: prepare(vectors, config))
    steps, found = seconds(lambda: run_steps(prepared, config, None))
    return {
        "data": kind,
        "n": n_samples,
        "d": n_features,
        "prepare_s": preparing,
        "steps_s": steps,
        "together_s": preparing + steps,
        "vectors_mb": vectors.nbytes / 1e6,
        "before_mb": before,
        "peak_mb": _peak_mb(),
        "chosen_silhouette": max(step.metrics.silhouette for step in found),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
