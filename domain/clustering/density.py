"""HDBSCAN: clusters are dense regions; how many there are comes out, and what lies between them is noise."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering, cluster_means
from domain.clustering.vectors import check_vectors
from domain.errors import Rejected


def density_clusters(
    vectors: ArrayLike,
    *,
    min_cluster_size: int = 5,
    min_samples: int | None = None,
    selection: Literal["eom", "leaf"] = "eom",
) -> Clustering:
    """Find the clusters that are there, numbered by their first row; noise is labelled −1.

    vectors: (n_samples, n_features); min_cluster_size: at least 2; min_samples: of a dense place, else the same
    Centroids are the means of the clusters' rows, the objective is the sum of squared distances to them, noise left
    out. Nothing is left to chance. Raises Rejected if everything is noise.
    Source: Campello, Moulavi & Sander 2013, by scikit-learn.
    """
    from sklearn.cluster import HDBSCAN

    rows = check_vectors(vectors)
    nearby = min_cluster_size if min_samples is None else min_samples
    if min_cluster_size < 2 or not 1 <= nearby <= len(rows):
        raise Rejected(
            f"min_cluster_size must be at least 2 and min_samples 1 to {len(rows)}, the number of rows, not "
            f"{min_cluster_size} and {nearby}",
            fields=("min_cluster_size", "min_samples"),
        )
    found = HDBSCAN(
        min_cluster_size=min_cluster_size, min_samples=min_samples, cluster_selection_method=selection, copy=True
    ).fit_predict(rows.astype(np.float64))
    names, first = np.unique(found, return_index=True)
    clusters = names[np.argsort(first)]
    clusters = clusters[clusters >= 0]
    if not len(clusters):
        raise Rejected(
            f"hdbscan found no cluster of {min_cluster_size} or more rows: all {len(rows)} are noise; "
            "lower min_cluster_size or min_samples",
            fields=("min_cluster_size", "min_samples"),
        )
    labels = np.full(len(rows), -1, dtype=np.int32)
    for number, name in enumerate(clusters):
        labels[found == name] = number
    centroids, objective = cluster_means(rows, labels, len(clusters))
    return Clustering(labels, centroids, objective, 1, True, 0)
