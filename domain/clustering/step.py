"""One step of a sweep: prepare the vectors once, then cluster for one K and measure what came out."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from msgspec import Struct

from domain.clustering.clusterings import Clustering, best_restart
from domain.clustering.measuring import StepResult, measure
from domain.clustering.methods import Method, method
from domain.clustering.projection import pca
from domain.clustering.ready_rows import ReadyRows, Seeds
from domain.clustering.starting import is_spherical, restarts_of_each, seeds_of_sweep, starts_from_seeds
from domain.clustering.vectors import Doubles, Vectors, check_vectors, unit_rows
from domain.sweeps import SweepConfig

__all__ = ["Prepared", "StepResult", "fitted", "measured", "placed", "prepare", "run_step"]


class Prepared(Struct, frozen=True, eq=False, dict=True):
    """Vectors ready to be clustered: as their preparation says, else rows of unit length along principal components."""

    vectors: Vectors  # (n_samples, n_components), what is clustered
    components: Doubles  # (n_components, n_features)
    mean: Doubles  # (n_features,), of the rows before they were projected
    explained_variance_ratio: Doubles  # (n_components,)
    scatter: Vectors  # (n_samples, 2), the first two components, for looking at
    seeds: Seeds | None = None  # (restarts, largest K), rows where k-means begins; the first K are those of K

    @cached_property
    def ready(self) -> ReadyRows:
        """The vectors as k-means takes them: made once for all its steps, wherever they run."""
        return ReadyRows(self.vectors)

    @cached_property
    def ready_directions(self) -> ReadyRows:
        """The same as spherical k-means takes them."""
        return ReadyRows(self.vectors, spherical=True)


def prepare(vectors: Vectors, config: SweepConfig) -> Prepared:
    """Bring rows to unit length, centre and project them, as far as asked. Raises Rejected as check_vectors does."""
    asked = config.prepared
    rows = check_vectors(vectors)
    projection = pca(rows, config.pca_dim or min(rows.shape), centre=asked.centre is not False, unit=asked.unit_norm)
    if config.pca_dim:
        rows = projection.projected
    else:
        rows = unit_rows(rows) if asked.unit_norm else rows
        rows = (rows - projection.mean).astype(np.float32) if asked.centre else rows
    plane = projection.projected[:, :2]
    rows = unit_rows(rows) if asked.unit_norm_after else rows
    return Prepared(
        vectors=rows,
        components=projection.components,
        mean=projection.mean,
        explained_variance_ratio=projection.explained_variance_ratio,
        scatter=np.ascontiguousarray(plane if plane.shape[1] == 2 else np.pad(plane, ((0, 0), (0, 1)))),
        seeds=seeds_of_sweep(rows, config),
    )


def placed(prepared: Prepared, vectors: Vectors, config: SweepConfig) -> Vectors:
    """Bring other vectors, (n, n_features), to where the prepared ones lie: (n, n_components).

    Along components in which the prepared ones don't differ they have no place, and get 0.
    """
    asked = config.prepared
    rows = check_vectors(vectors)
    if asked.unit_norm:
        rows = unit_rows(rows)
    if config.pca_dim:
        found = (rows - prepared.mean) @ prepared.components.T
        rows = np.where(prepared.explained_variance_ratio > 0, found, 0.0).astype(np.float32)
    elif asked.centre:
        rows = (rows - prepared.mean).astype(np.float32)
    return unit_rows(rows) if asked.unit_norm_after else rows


def run_step(
    prepared: Prepared, k: int, config: SweepConfig, true_labels: Sequence[str] | None, by: Method | None = None
) -> StepResult:
    """Cluster with every restart and measure: stability over all restarts, everything else on the best one.

    by: the method, where it isn't one of ours; k means nothing to one that finds the number of clusters
    """
    restarts = fitted(prepared, k, config, by)
    number = best_restart(restarts)
    return measured(prepared, config, true_labels, restarts, number, restarts[number], by)


def fitted(prepared: Prepared, k: int, config: SweepConfig, by: Method | None = None) -> list[Clustering]:
    """One clustering a restart."""
    chosen = by or method(config.method)
    if starts_from_seeds(chosen):
        chosen.check(config.parameters)
        ready = prepared.ready_directions if is_spherical(chosen) else prepared.ready
        return restarts_of_each(ready, (k,), config, prepared.seeds)[0]
    return chosen.fit(prepared.vectors, k, config.restarts, config.max_iterations, config.seed, config.parameters)


def measured(
    prepared: Prepared,
    config: SweepConfig,
    true_labels: Sequence[str] | None,
    restarts: Sequence[Clustering],
    number: int,
    chosen: Clustering,
    by: Method | None = None,
) -> StepResult:
    """What a clustering amounts to, and how far the restarts agree.

    number: of the restart that `chosen` is, or came from
    """
    return measure(prepared.vectors, restarts, number, chosen, config, by or method(config.method), true_labels)
