"""The options of a sweep as people give them, on every face alike, and the configuration that they make."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct

from domain.clustering.methods import Method, method
from domain.errors import Rejected
from domain.sweeps import Choosing, Preparation, SweepConfig, View

SMALLEST_K, LARGEST_K = 2, 20
DEFAULT_RANK = 2

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Values = Annotated[dict[str, Any], Meta(max_length=50)]


class SweepOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to cluster, for which K, and how one of them is chosen.

    k_min, k_max: 2 to 20 if not given; a method that finds the number of clusters itself takes neither
    rank: the same as {"rank": …} among the parameters of k-subspaces
    parameters, choose_parameters: of the method and of the rule, see `study sweep methods` and `study sweep rules`
    also_measure: rules whose numbers are wanted though they don't choose
    """

    method: Name = "k-means"
    k_min: int | None = None
    k_max: int | None = None
    restarts: Annotated[int, Meta(ge=1, le=10_000)] = 10
    max_iter: Annotated[int, Meta(ge=1, le=1_000_000)] = 200
    pca_dim: Annotated[int, Meta(ge=0, description="Principal components kept; 0 keeps all features.")] = 64
    unit_norm: Annotated[bool, Meta(description="Scale rows to length 1 first.")] = True
    centre: Annotated[bool | None, Meta(description="Subtract the mean; if not given, where rows are projected.")] = (
        None
    )
    unit_norm_after: Annotated[bool, Meta(description="Scale rows to length 1 again, after projecting.")] = False
    rank: int | None = None
    parameters: Values = {}
    seed: Annotated[int, Meta(ge=0)] = 0
    summarise: str | None = None
    coverage_threshold: Annotated[float, Meta(ge=0, le=2)] = 0.2
    choose_by: Name = "silhouette"
    choose_parameters: Values = {}
    also_measure: Annotated[tuple[Name, ...], Meta(max_length=20)] = ()
    view: View | None = None
    name_every_k: Annotated[bool, Meta(description="Name the clusters of every K, not only of the chosen one.")] = False

    def config(self, methods: Mapping[str, Method]) -> SweepConfig:
        """The configuration. Raises Rejected, naming the option at fault, for what contradicts itself."""
        chosen = method(self.method, methods)
        if self.pca_dim < 0 or self.seed < 0:
            raise Rejected("--pca-dim and --seed can't be negative", fields=("pca_dim", "seed"))
        if self.summarise is not None and not all(self.summarise.partition("/")[::2]):
            raise Rejected(f"--summarise is written PROVIDER/MODEL, not {self.summarise!r}", fields=("summarise",))
        return SweepConfig(
            method=self.method,
            k_values=k_values_of(chosen, self.k_min, self.k_max),
            restarts=self.restarts,
            max_iterations=self.max_iter,
            pca_dim=self.pca_dim or None,
            seed=self.seed,
            coverage_threshold=self.coverage_threshold,
            choose_by=self.choose_by,
            parameters=self._parameters(chosen),
            summarise=self.summarise,
            preparation=Preparation(unit_norm=self.unit_norm, centre=self.centre, unit_norm_after=self.unit_norm_after),
            choosing=Choosing(parameters=self.choose_parameters, also_measure=self.also_measure),
            view=self.view or UNSET,
            name_every_k=True if self.name_every_k else UNSET,
        )

    def _parameters(self, chosen: Method) -> dict[str, Any]:
        if self.rank is not None and "rank" not in chosen.parameters.__struct_fields__:
            raise Rejected(f"--rank belongs to k-subspaces; {self.method} has none", fields=("rank",))
        if self.rank is not None and "rank" in self.parameters:
            raise Rejected("rank is given twice: as --rank and among the parameters", fields=("rank", "parameters"))
        if self.method == "k-subspaces":
            return {"rank": self.rank or DEFAULT_RANK, **self.parameters}
        return self.parameters if self.rank is None else {"rank": self.rank, **self.parameters}


def k_values_of(chosen: Method, k_min: int | None, k_max: int | None) -> tuple[int, ...]:
    """Every K from the smallest to the largest; none for a method that finds its own. Raises Rejected."""
    if chosen.finds_k:
        if k_min is not None or k_max is not None:
            raise Rejected(
                f"{chosen.name} finds the number of clusters itself; leave --k-min and --k-max out",
                fields=("k_min", "k_max"),
            )
        return ()
    low = SMALLEST_K if k_min is None else k_min
    high = max(LARGEST_K, low) if k_max is None else k_max
    if low < 1 or high < low:
        raise Rejected(f"--k-min {low} --k-max {high}: K runs from at least 1 upwards", fields=("k_min", "k_max"))
    return tuple(range(low, high + 1))


def named_values(pairs: Iterable[str], option: str) -> dict[str, Any]:
    """NAME=VALUE pairs as a mapping; a value is JSON where it can be, else a text. Raises Rejected."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise Rejected(f"{option} is written NAME=VALUE, not {pair!r}", fields=(option.strip("-"),))
        if name.strip() in found:
            raise Rejected(f"{option} {name.strip()} is given twice", fields=(name.strip(),))
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
