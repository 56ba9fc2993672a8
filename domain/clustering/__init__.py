"""The pure clustering functions: arrays and seeds in, arrays and numbers out."""

from domain.clustering.clusterings import Clustering, best, best_restart
from domain.clustering.compactness import coverage, dispersion
from domain.clustering.kmeans import k_means, spherical_k_means
from domain.clustering.methods import METHODS, Method, method
from domain.clustering.projection import Projection, mean_pool, pca
from domain.clustering.representatives import representatives
from domain.clustering.selection import ChosenK, choose_k
from domain.clustering.separation import calinski_harabasz, davies_bouldin
from domain.clustering.silhouette import silhouette_cosine, silhouette_euclidean
from domain.clustering.stability import (
    Stability,
    adjusted_rand_index,
    clustering_accuracy,
    completeness,
    homogeneity,
    normalized_mutual_information,
    pairwise_ari,
    stability,
    v_measure,
)
from domain.clustering.subspaces import k_subspaces
from domain.clustering.vectors import Labels, Vectors, check_vectors, unit_rows

__all__ = [
    "METHODS",
    "ChosenK",
    "Clustering",
    "Labels",
    "Method",
    "Projection",
    "Stability",
    "Vectors",
    "adjusted_rand_index",
    "best",
    "best_restart",
    "calinski_harabasz",
    "check_vectors",
    "choose_k",
    "clustering_accuracy",
    "completeness",
    "coverage",
    "davies_bouldin",
    "dispersion",
    "homogeneity",
    "k_means",
    "k_subspaces",
    "mean_pool",
    "method",
    "normalized_mutual_information",
    "pairwise_ari",
    "pca",
    "representatives",
    "silhouette_cosine",
    "silhouette_euclidean",
    "spherical_k_means",
    "stability",
    "unit_rows",
    "v_measure",
]
