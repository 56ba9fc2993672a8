"""Gaussian mixtures: each cluster is a normal distribution, and the likelihood tells how well they fit."""

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.assignment import cluster_sums
from domain.clustering.clusterings import Clustering
from domain.clustering.kmeans import k_means
from domain.clustering.vectors import Doubles, Vectors, check_vectors

Covariance = Literal["full", "tied", "diag", "spherical"]


def gaussian_mixture(
    vectors: ArrayLike,
    n_clusters: int,
    *,
    covariance: Covariance = "diag",
    regularisation: float = 1e-6,
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
) -> list[Clustering]:
    """Fit normal distributions by expectation-maximisation; one result a restart, each from that restart of k_means.

    vectors: (n_samples, n_features), at least max(2, n_clusters) samples
    covariance: full (any ellipsoid), tied (the same for all), diag (along the axes), spherical
    regularisation: added to each variance
    Labels are the likeliest component of each row, and centroids the means of their rows (of the component where it has
    none). The objective is the negative log-likelihood of all rows, in nats. Raises Rejected as k_means does.
    Source: Dempster, Laird & Rubin 1977; Schwarz 1978 (BIC); by scikit-learn.
    """
    rows = check_vectors(vectors)
    starts = k_means(rows, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)
    doubles = rows.astype(np.float64)
    return [
        _fitted(rows, doubles, n_clusters, start, covariance, regularisation, max_iterations, seed) for start in starts
    ]


def _fitted(
    rows: Vectors,
    doubles: Doubles,
    n_clusters: int,
    start: Clustering,
    covariance: Covariance,
    regularisation: float,
    max_iterations: int,
    seed: int,
) -> Clustering:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    sizes = np.bincount(start.labels, minlength=n_clusters)
    model = GaussianMixture(
        n_clusters,
        covariance_type=covariance,
        reg_covar=regularisation,
        max_iter=max_iterations,
        random_state=seed,
        weights_init=np.maximum(sizes, 1e-12) / np.maximum(sizes, 1e-12).sum(),
        means_init=start.centroids.astype(np.float64),
        precisions_init=_precisions(doubles, start, covariance, regularisation),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # `converged` says it
        labels = model.fit(doubles).predict(doubles).astype(np.int32)
    found = np.bincount(labels, minlength=n_clusters)
    means = cluster_sums(rows, labels, n_clusters) / np.maximum(found, 1)[:, None]
    centroids = np.where(found[:, None] > 0, means, model.means_).astype(np.float32)
    return Clustering(
        labels=labels,
        centroids=centroids,
        objective=-float(model.score(doubles)) * len(rows),
        iterations=int(model.n_iter_),
        converged=bool(model.converged_),
        empty_clusters=int((found == 0).sum()),
        bic=float(model.bic(doubles)),
    )


def _precisions(doubles: Doubles, start: Clustering, covariance: Covariance, regularisation: float) -> Any:
    """The inverse covariances of k_means' clusters, in scikit-learn's shape for each kind."""
    n_clusters, n_features = start.centroids.shape
    differences = doubles - start.centroids[start.labels]
    if covariance == "tied":
        pooled = differences.T @ differences / len(doubles)
        return np.linalg.inv(pooled + regularisation * np.eye(n_features))
    if covariance == "full":
        inverses = np.empty((n_clusters, n_features, n_features))
        for cluster in range(n_clusters):
            own = differences[start.labels == cluster]
            scatter = own.T @ own / max(1, len(own))
            inverses[cluster] = np.linalg.inv(scatter + regularisation * np.eye(n_features))
        return inverses
    variances = (
        np.array([np.square(differences[start.labels == cluster]).sum(axis=0) for cluster in range(n_clusters)])
        / np.maximum(np.bincount(start.labels, minlength=n_clusters), 1)[:, None]
        + regularisation
    )
    return 1.0 / (variances if covariance == "diag" else variances.mean(axis=1))
