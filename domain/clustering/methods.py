"""The clustering methods by name, each with the parameters it takes."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import MappingProxyType
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering
from domain.clustering.density import density_clusters
from domain.clustering.hierarchy import Linkage, agglomerate
from domain.clustering.kmeans import k_means, spherical_k_means
from domain.clustering.mixture import Covariance, gaussian_mixture
from domain.clustering.own_distance import Distance
from domain.clustering.parameters import check_parameters, schema_of
from domain.clustering.spectral import spectral
from domain.clustering.subspaces import k_subspaces
from domain.errors import Rejected, StudyError

PROJECT = "study-query-llm"
METHOD_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """A method that takes only what all methods take."""


class SubspaceParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What k-subspaces takes besides."""

    rank: Annotated[int, Meta(ge=1, description="Dimensions of each subspace.")] = 2
    start: Annotated[
        Literal["k-means", "random"], Meta(description="From the clusters of k-means, or from random groups.")
    ] = "k-means"


class HierarchyParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What agglomerative takes besides."""

    linkage: Annotated[Linkage, Meta(description="What two clusters must be near by to be joined.")] = "ward"


class SpectralParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What spectral takes besides."""

    neighbours: Annotated[int, Meta(ge=1, description="Nearest rows that each row is joined to in the graph.")] = 10


class MixtureParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What gaussian-mixture takes besides."""

    covariance: Annotated[Covariance, Meta(description="The shape that each cluster's spread may have.")] = "diag"
    regularisation: Annotated[float, Meta(gt=0, description="Added to each variance, so that none vanishes.")] = 1e-6


class DensityParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What hdbscan takes besides."""

    min_cluster_size: Annotated[int, Meta(ge=2, description="Rows that a cluster has at least.")] = 5
    min_samples: Annotated[
        int | None, Meta(description="Rows near by that make a row dense; min_cluster_size if not given.")
    ] = None
    selection: Annotated[
        Literal["eom", "leaf"], Meta(description="The clusters that last longest, or the smallest ones.")
    ] = "eom"


class LlmMeansParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What k-llmmeans takes besides."""

    rounds: Annotated[int, Meta(ge=1, le=100, description="How often centroids are replaced by summaries.")] = 5
    iterations: Annotated[int, Meta(ge=1, le=10_000, description="Of k-means after each time, at most.")] = 20
    sample: Annotated[int, Meta(ge=1, le=1_000, description="Texts of a cluster that are summed up, at most.")] = 10
    spherical: Annotated[bool, Meta(description="Cluster by cosine.")] = False
    summary: Annotated[
        Literal["model", "medoid"], Meta(description="Of who summarises, or the sampled text nearest to their mean.")
    ] = "model"
    embedding: Annotated[
        str | None, Meta(description="PROVIDER/MODEL that embeds summaries, for vectors made elsewhere.")
    ] = None
    dimensions: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="That are asked of it.")] = None


Run = Callable[[ArrayLike, int, int, int, int, Any], list[Clustering]]


class Method(Struct, frozen=True):
    """A way to cluster: its name, its parameters' schema and the function behind it.

    run: (vectors, n_clusters, restarts, max_iterations, seed, parameters) → one Clustering a restart, in their order
    in_rounds: they are only where the rounds of `domain.clustering.llm_means` start, which need texts
    """

    name: str
    parameters: type[Struct]
    run: Run
    description: str = ""
    distance: Distance = "euclidean"  # by which rows are nearest to their cluster: representatives, gap, prediction
    finds_k: bool = False  # the number of clusters comes out, and n_clusters means nothing
    by_chance: bool = True  # restarts differ; of a method without chance, there is one
    has_bic: bool = False  # its clusterings bring the Bayesian information criterion
    needs: tuple[str, ...] = ()  # modules that must be installed
    extra: str | None = None  # of this project, which installs them
    distribution: str | None = None  # name and version of whose it is, if it isn't ours
    in_rounds: bool = False

    def check(self, parameters: Mapping[str, Any]) -> Struct:
        """Fill in the defaults. Raises Rejected for a parameter that is unknown or invalid, naming it."""
        return check_parameters(self.name, self.parameters, parameters)

    def check_installed(self) -> None:
        """Raise Rejected, with what to install, if a module is missing that this method needs."""
        missing = [module for module in self.needs if not importable(module)]
        if missing:
            raise Rejected(
                f"{self.name} needs {', '.join(missing)}, which is not installed: {how_to_install(self.extra)}",
                fields=("method",),
            )

    def software(self) -> dict[str, str]:
        """The version of another distribution that brings this method, by its name."""
        name, _, version = (self.distribution or "").partition(" ")
        return {name: version} if name else {}

    def document(self) -> dict[str, Any]:
        """What users see of it: parameters as a JSON schema, and whether it can be used here."""
        return {
            "method": self.name,
            "description": self.description,
            "parameters": schema_of(self.parameters),
            "finds_k": self.finds_k,
            "by_chance": self.by_chance,
            "installed": all(importable(module) for module in self.needs),
            "extra": self.extra,
            "distribution": self.distribution or PROJECT,
        }

    def fit(
        self,
        vectors: ArrayLike,
        n_clusters: int,
        restarts: int,
        max_iterations: int,
        seed: int,
        parameters: Mapping[str, Any],
    ) -> list[Clustering]:
        """Cluster vectors, (n_samples, n_features), into n_clusters: one result a restart, in their order.

        Raises Rejected for parameters, for what isn't installed, and for another distribution's method that breaks
        or returns what is no clustering of these vectors; the text names it.
        """
        checked = self.check(parameters)
        self.check_installed()
        if self.distribution is None:
            return self.run(vectors, n_clusters, restarts, max_iterations, seed, checked)
        try:
            found = list(self.run(vectors, n_clusters, restarts, max_iterations, seed, checked))
        except StudyError:
            raise
        except Exception as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        wrong = what_is_wrong(found, np.shape(vectors), None if self.finds_k else n_clusters)
        if wrong:
            raise self._broken(wrong)
        return found

    def _broken(self, reason: str) -> Rejected:
        return Rejected(
            f"The method {self.name!r} of {self.distribution} can't be used: {reason}. Mend or uninstall it",
            fields=("method",),
        )


def importable(module: str) -> bool:
    """Whether a module is there to be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def how_to_install(extra: str | None) -> str:
    """The command that brings what is missing."""
    return f"pip install '{PROJECT}[{extra}]'" if extra else "install it"


def what_is_wrong(clusterings: Sequence[Any], shape: tuple[int, ...], n_clusters: int | None) -> str | None:
    """Say why these are no clusterings of (n_samples, n_features) vectors into n_clusters; None if they are."""
    if not clusterings:
        return "it returned no clustering"
    return next((fault for each in clusterings for fault in _faults(each, shape, n_clusters)), None)


def _faults(clustering: Any, shape: tuple[int, ...], n_clusters: int | None) -> Iterator[str]:
    if not isinstance(clustering, Clustering):
        yield f"it returned a {type(clustering).__name__} where a Clustering belongs"
        return
    labels, centroids = np.asarray(clustering.labels), np.asarray(clustering.centroids)
    wanted = len(centroids) if n_clusters is None else n_clusters
    if labels.shape != (shape[0],) or labels.dtype != np.int32:
        yield f"labels are {labels.dtype} of shape {labels.shape}, not int32 of shape ({shape[0]},)"
    elif labels.min() < -1 or labels.max() >= wanted:
        yield f"labels run from {labels.min()} to {labels.max()}, not from 0 (or −1 for noise) to {wanted - 1}"
    if centroids.shape != (wanted, shape[1]) or not np.isfinite(centroids).all():
        yield f"centroids are of shape {centroids.shape}, not finite ones of shape ({wanted}, {shape[1]})"
    if not np.isfinite(clustering.objective):
        yield f"its objective is {clustering.objective}"


def method(name: str, methods: Mapping[str, Method] | None = None) -> Method:
    """Find a method by its name. Raises Rejected for an unknown one, naming those there are."""
    known = METHODS if methods is None else methods
    if name not in known:
        raise Rejected(f"No clustering method {name!r}; there are {', '.join(known)}", fields=("method",))
    return known[name]


def _k_means(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, _parameters: NoParameters
) -> list[Clustering]:
    return k_means(vectors, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)


def _spherical_k_means(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, _parameters: NoParameters
) -> list[Clustering]:
    return spherical_k_means(vectors, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)


def _starts_of_llm_means(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, parameters: LlmMeansParameters
) -> list[Clustering]:
    return k_means(
        vectors,
        n_clusters,
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
        spherical=parameters.spherical,
    )


def _k_subspaces(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, parameters: SubspaceParameters
) -> list[Clustering]:
    return k_subspaces(
        vectors,
        n_clusters,
        parameters.rank,
        start=parameters.start,
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
    )


def _agglomerative(
    vectors: ArrayLike, n_clusters: int, _restarts: int, _iterations: int, _seed: int, parameters: HierarchyParameters
) -> list[Clustering]:
    return [agglomerate(vectors, n_clusters, linkage=parameters.linkage)]


def _spectral(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, parameters: SpectralParameters
) -> list[Clustering]:
    return spectral(
        vectors,
        n_clusters,
        neighbours=parameters.neighbours,
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
    )


def _gaussian_mixture(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, parameters: MixtureParameters
) -> list[Clustering]:
    return gaussian_mixture(
        vectors,
        n_clusters,
        covariance=parameters.covariance,
        regularisation=parameters.regularisation,
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
    )


def _hdbscan(
    vectors: ArrayLike, _n_clusters: int, _restarts: int, _iterations: int, _seed: int, parameters: DensityParameters
) -> list[Clustering]:
    return [
        density_clusters(
            vectors,
            min_cluster_size=parameters.min_cluster_size,
            min_samples=parameters.min_samples,
            selection=parameters.selection,
        )
    ]


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        known.name: known
        for known in (
            Method("k-means", NoParameters, _k_means, description="The nearest centroid; clusters are round."),
            Method(
                "spherical-k-means",
                NoParameters,
                _spherical_k_means,
                distance="cosine",
                description="The nearest direction, whatever the length of a row.",
            ),
            Method(
                "k-subspaces",
                SubspaceParameters,
                _k_subspaces,
                distance="subspace",
                description="The nearest subspace through the origin; clusters are flat.",
            ),
            Method(
                "agglomerative",
                HierarchyParameters,
                _agglomerative,
                by_chance=False,
                description="The two nearest clusters are joined, again and again, until K are left.",
            ),
            Method(
                "spectral",
                SpectralParameters,
                _spectral,
                needs=("sklearn",),
                extra="clustering",
                description="K-means on the graph of nearest neighbours; clusters may have any shape.",
            ),
            Method(
                "gaussian-mixture",
                MixtureParameters,
                _gaussian_mixture,
                has_bic=True,
                needs=("sklearn",),
                extra="clustering",
                description="A normal distribution a cluster; brings the BIC to choose K by.",
            ),
            Method(
                "hdbscan",
                DensityParameters,
                _hdbscan,
                finds_k=True,
                by_chance=False,
                needs=("sklearn",),
                extra="clustering",
                description="Dense regions; finds the number of clusters itself, and what is noise.",
            ),
            Method(
                "k-llmmeans",
                LlmMeansParameters,
                _starts_of_llm_means,
                in_rounds=True,
                description="K-means whose centroids become, round by round, what summaries say of their clusters.",
            ),
        )
    }
)
