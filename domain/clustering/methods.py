"""The clustering methods by name, each with the parameters it takes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering
from domain.clustering.kmeans import k_means, spherical_k_means
from domain.clustering.subspaces import k_subspaces
from domain.errors import Rejected


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """A method that takes only what all methods take."""


class SubspaceParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What k-subspaces takes besides."""

    rank: Annotated[int, Meta(ge=1)] = 2
    start: Literal["k-means", "random"] = "k-means"


Run = Callable[[ArrayLike, int, int, int, int, Any], list[Clustering]]


class Method(Struct, frozen=True):
    """A way to cluster: its name, its parameters' schema and the function behind it."""

    name: str
    parameters: type[Struct]
    run: Run

    def check(self, parameters: Mapping[str, Any]) -> Struct:
        """Fill in the defaults. Raises Rejected for a parameter that is unknown or invalid, naming it."""
        known = self.parameters.__struct_fields__
        for name in parameters:
            if name not in known:
                takes = f"it takes {', '.join(known)}" if known else "it takes none"
                raise Rejected(f"{self.name} has no parameter {name!r}; {takes}", fields=(name,))
        for name, value in parameters.items():
            try:
                msgspec.convert({name: value}, self.parameters)
            except msgspec.ValidationError as error:
                raise Rejected(f"{self.name} can't take {name}={value!r}: {error}", fields=(name,)) from error
        return msgspec.convert(dict(parameters), self.parameters)

    def fit(
        self,
        vectors: ArrayLike,
        n_clusters: int,
        restarts: int,
        max_iterations: int,
        seed: int,
        parameters: Mapping[str, Any],
    ) -> list[Clustering]:
        """Cluster vectors, (n_samples, n_features), into n_clusters: one result a restart, in their order."""
        return self.run(vectors, n_clusters, restarts, max_iterations, seed, self.check(parameters))


def method(name: str) -> Method:
    """Find a method by its name. Raises Rejected for an unknown one, naming those there are."""
    if name not in METHODS:
        raise Rejected(f"No clustering method {name!r}; there are {', '.join(METHODS)}", fields=("method",))
    return METHODS[name]


def _k_means(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, _parameters: NoParameters
) -> list[Clustering]:
    return k_means(vectors, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)


def _spherical_k_means(
    vectors: ArrayLike, n_clusters: int, restarts: int, max_iterations: int, seed: int, _parameters: NoParameters
) -> list[Clustering]:
    return spherical_k_means(vectors, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)


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


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        known.name: known
        for known in (
            Method("k-means", NoParameters, _k_means),
            Method("spherical-k-means", NoParameters, _spherical_k_means),
            Method("k-subspaces", SubspaceParameters, _k_subspaces),
        )
    }
)
