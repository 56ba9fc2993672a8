"""What a sweep is asked to choose its K by: whether that can be done, and doing it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from domain.clustering.methods import Method
from domain.clustering.selection import RULES, ChosenK, Step, choose_k, rule_of
from domain.clustering.umap_view import check_umap_installed
from domain.errors import Rejected
from domain.sweeps import StepMetrics, SweepConfig

REFITTED = ("gap", "prediction-strength")  # these cluster other rows into as many clusters


def check_asked(config: SweepConfig, method: Method) -> None:
    """Raise Rejected, before anything is computed, for what this method or installation can't do."""
    method.check(config.parameters)
    method.check_installed()
    rule_of(config.choose_by).check(config.choose_parameters)
    for rule in (config.choose_by, *config.also_measured):
        _check_rule(rule, config, method)
    if config.view == "umap":
        check_umap_installed()
    if method.finds_k and config.k_values:
        raise Rejected(f"{method.name} finds the number of clusters itself; leave K out", fields=("k_min", "k_max"))
    if not method.finds_k and (not config.k_values or min(config.k_values) < 1):
        raise Rejected("K must be at least 1, and the smallest K no larger than the largest", fields=("k_min", "k_max"))


def choose_step(metrics: Sequence[StepMetrics], config: SweepConfig, method: Method) -> ChosenK:
    """Choose among a sweep's steps by its rule; what a method found itself is no choice."""
    if method.finds_k:
        (found,) = metrics
        noise = found.internal.noise if found.internal else 0
        return ChosenK(
            found.k, method.name, f"{method.name} found K={found.k} clusters; {noise:,} rows belong to none (noise)."
        )
    steps = [cast(Step, SimpleNamespace(**each.flat())) for each in metrics]
    return choose_k(steps, config.choose_by, **config.choose_parameters)


def _check_rule(rule: str, config: SweepConfig, method: Method) -> None:
    wanted: Any = rule_of(rule)
    if method.finds_k and rule in REFITTED:
        raise Rejected(
            f"{rule} needs a number of clusters, and {method.name} finds its own; leave {rule} out",
            fields=("choose_by", "also_measure"),
        )
    if rule == "stability" and not method.by_chance:
        others = ", ".join(name for name in RULES if name not in {"stability", "bic"})
        raise Rejected(
            f"{method.name} leaves nothing to chance, so there are no restarts whose stability could be told; "
            f"choose by {others}",
            fields=("choose_by",),
        )
    if rule == "stability" and config.restarts < 2 and not method.finds_k:
        raise Rejected("stability compares restarts: run at least two", fields=("choose_by", "restarts"))
    if wanted.reads == "bic" and not method.has_bic:
        raise Rejected(f"{method.name} has no likelihood, so no BIC; use gaussian-mixture", fields=("choose_by",))
