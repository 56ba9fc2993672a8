"""The pure clustering functions: arrays and seeds in, arrays and numbers out."""

from domain.clustering.clusterings import Clustering, best, best_restart
from domain.clustering.compactness import coverage, dispersion
from domain.clustering.density import density_clusters
from domain.clustering.gap import Gap, gap_statistic
from domain.clustering.hierarchy import agglomerate
from domain.clustering.keywords import keywords
from domain.clustering.kmeans import k_means, spherical_k_means
from domain.clustering.methods import METHODS, Method, method
from domain.clustering.mixture import gaussian_mixture
from domain.clustering.own_distance import nearest_clusters, nearest_rows, own_distances
from domain.clustering.prediction_strength import PredictionStrength, prediction_strength
from domain.clustering.projection import Projection, mean_pool, pca
from domain.clustering.representatives import representatives
from domain.clustering.selection import RULES, ChosenK, Rule, choose_k
from domain.clustering.separation import calinski_harabasz, davies_bouldin
from domain.clustering.silhouette import silhouette_cosine, silhouette_euclidean
from domain.clustering.spectral import spectral
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
from domain.clustering.umap_view import umap_view
from domain.clustering.vectors import Labels, Vectors, check_vectors, unit_rows

__all__ = [
    "METHODS",
    "RULES",
    "ChosenK",
    "Clustering",
    "Gap",
    "Labels",
    "Method",
    "PredictionStrength",
    "Projection",
    "Rule",
    "Stability",
    "Vectors",
    "adjusted_rand_index",
    "agglomerate",
    "best",
    "best_restart",
    "calinski_harabasz",
    "check_vectors",
    "choose_k",
    "clustering_accuracy",
    "completeness",
    "coverage",
    "davies_bouldin",
    "density_clusters",
    "dispersion",
    "gap_statistic",
    "gaussian_mixture",
    "homogeneity",
    "k_means",
    "k_subspaces",
    "keywords",
    "mean_pool",
    "method",
    "nearest_clusters",
    "nearest_rows",
    "normalized_mutual_information",
    "own_distances",
    "pairwise_ari",
    "pca",
    "prediction_strength",
    "representatives",
    "silhouette_cosine",
    "silhouette_euclidean",
    "spectral",
    "spherical_k_means",
    "stability",
    "umap_view",
    "unit_rows",
    "v_measure",
]
