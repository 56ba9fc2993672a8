"""Where the restarts of a sweep's k-means begin: the same rows for every K, chosen once."""

from collections.abc import Sequence

from domain.clustering.clusterings import Clustering
from domain.clustering.kmeans import k_means_of_each
from domain.clustering.methods import Method
from domain.clustering.ready_rows import ReadyRows, Seeds
from domain.clustering.vectors import Vectors
from domain.sweeps import SweepConfig

SPHERICAL = {"k-means": False, "spherical-k-means": True}


def starts_from_seeds(by: Method) -> bool:
    """Whether the method's restarts begin at rows that can be chosen once for all K."""
    return by.distribution is None and by.name in SPHERICAL


def is_spherical(by: Method) -> bool:
    """Whether such a method clusters directions."""
    return SPHERICAL[by.name]


def seeds_of_sweep(vectors: Vectors, config: SweepConfig) -> Seeds | None:
    """Choose as many rows for each restart as the largest K needs; None if the method has no use for them."""
    if config.method not in SPHERICAL or not config.k_values:
        return None
    most = min(max(config.k_values), len(vectors))
    return ReadyRows(vectors, SPHERICAL[config.method]).seeds(most, config.restarts, config.seed)


def restarts_of_each(
    ready: ReadyRows, k_values: Sequence[int], config: SweepConfig, seeds: Seeds | None
) -> list[list[Clustering]]:
    """Run a sweep's k-means for several K; each gives the same bits alone, and without the seeds."""
    enough = seeds is not None and seeds.shape[1] >= max(k_values)
    return k_means_of_each(
        ready,
        k_values,
        restarts=config.restarts,
        max_iterations=config.max_iterations,
        seed=config.seed,
        seeds=seeds if enough else None,
    )
