"""Choosing the number of clusters from what each step of a sweep measured."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from domain.errors import Rejected

STABLE_ARI = 0.8


class Step(Protocol):
    """What a rule looks at in one step."""

    @property
    def k(self) -> int:
        """Its number of clusters."""

    @property
    def objective(self) -> float:
        """Its best restart's sum of squared distances."""

    @property
    def silhouette(self) -> float | None:
        """Its best restart's silhouette; None for a single cluster."""

    @property
    def stability_ari_mean(self) -> float | None:
        """How much its restarts agree; None for a single restart."""


class ChosenK(NamedTuple):
    """The number of clusters, the rule it was chosen by, and why, in a sentence."""

    k: int
    rule: str
    explanation: str


def choose_k(steps: Sequence[Step], rule: str = "silhouette", *, stable_ari: float = STABLE_ARI) -> ChosenK:
    """Choose K by a rule: silhouette, knee or stability.

    silhouette: the highest; ties go to the smaller K
    knee: where the objective curve bends most, the farthest below the line from its first to its last step
    stability: the largest K whose mean ARI reaches stable_ari, else the most stable one; ties go to the smaller K
    Steps may come in any order; one step is chosen by any rule. Raises Rejected for no steps, a repeated K, an unknown
    rule, or a rule whose number no step has.
    """
    if rule not in RULES:
        raise Rejected(f"No rule {rule!r} to choose K by; there are {', '.join(sorted(RULES))}", fields=("choose_by",))
    ordered = sorted(steps, key=lambda step: step.k)
    if not ordered:
        raise Rejected("There are no steps to choose K from", fields=("k",))
    if len({step.k for step in ordered}) < len(ordered):
        raise Rejected("A number of clusters occurs in two steps", fields=("k",))
    if len(ordered) == 1:
        return ChosenK(ordered[0].k, rule, f"K={ordered[0].k} is the only step.")
    k, explanation = RULES[rule](ordered, stable_ari)
    return ChosenK(k, rule, explanation)


def _by_silhouette(steps: Sequence[Step], _stable_ari: float) -> tuple[int, str]:
    measured = [(step.silhouette, step.k) for step in steps if step.silhouette is not None]
    if not measured:
        raise Rejected("No step has a silhouette: all have a single cluster", fields=("choose_by",))
    silhouette, k = max(measured, key=lambda pair: (pair[0], -pair[1]))
    return k, f"K={k} has the highest mean silhouette, {silhouette:.3f}, of {_tried(steps)}."


def _by_knee(steps: Sequence[Step], _stable_ari: float) -> tuple[int, str]:
    """Take the knee of a falling convex curve (Satopää et al. 2011, without smoothing)."""
    first, last = steps[0], steps[-1]
    fall = first.objective - last.objective
    if fall <= 0:
        return first.k, f"K={first.k} is the smallest of {_tried(steps)}, and more clusters don't lower the objective."
    drops = [
        ((first.objective - step.objective) / fall - (step.k - first.k) / (last.k - first.k), step.k) for step in steps
    ]
    drop, k = max(drops, key=lambda pair: (pair[0], -pair[1]))
    if drop <= 0:
        return first.k, f"The objective of {_tried(steps)} has no knee, so K={first.k} is the smallest."
    return k, f"K={k} is the knee of the objective over {_tried(steps)}: beyond it, more clusters gain little."


def _by_stability(steps: Sequence[Step], stable_ari: float) -> tuple[int, str]:
    measured = [(step.stability_ari_mean, step.k) for step in steps if step.stability_ari_mean is not None]
    if not measured:
        raise Rejected("No step has a stability: run at least two restarts", fields=("choose_by", "restarts"))
    stable = [(ari, k) for ari, k in measured if ari >= stable_ari]
    if stable:
        ari, k = max(stable, key=lambda pair: pair[1])
        return k, (
            f"K={k} is the largest of {_tried(steps)} whose restarts agree with a mean ARI of at least "
            f"{stable_ari:.2f}: {ari:.3f}."
        )
    ari, k = max(measured, key=lambda pair: (pair[0], -pair[1]))
    return (
        k,
        f"K={k} is the most stable of {_tried(steps)}, with a mean ARI of {ari:.3f}; none reaches {stable_ari:.2f}.",
    )


def _tried(steps: Sequence[Step]) -> str:
    return f"{len(steps)} values from {steps[0].k} to {steps[-1].k}"


RULES: dict[str, Callable[[Sequence[Step], float], tuple[int, str]]] = {
    "silhouette": _by_silhouette,
    "knee": _by_knee,
    "stability": _by_stability,
}
