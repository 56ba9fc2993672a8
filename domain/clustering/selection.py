"""Choosing the number of clusters from what each step of a sweep measured."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, Protocol

from msgspec import Meta, Struct

from domain.clustering.parameters import check_parameters, schema_of
from domain.errors import Rejected

STABLE_ARI = 0.8


class Step(Protocol):
    """What a rule looks at in one step; a rule of its own number looks for that by its name."""

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


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule that takes nothing."""


class StabilityParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What stability takes."""

    stable_ari: Annotated[float, Meta(ge=-1, le=1, description="Mean ARI of restarts that counts as stable.")] = (
        STABLE_ARI
    )


class GapParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What gap takes."""

    references: Annotated[int, Meta(ge=1, le=1000, description="Draws without clusters to compare with.")] = 10
    restarts: Annotated[
        int | None, Meta(description="Starts for each draw; as many as the sweep has if not given.")
    ] = None
    standard_errors: Annotated[float, Meta(ge=0, description="Errors by which the next gap must be larger.")] = 1.0


class PredictionParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """What prediction-strength takes."""

    splits: Annotated[int, Meta(ge=1, le=1000, description="How often the rows are halved.")] = 5
    restarts: Annotated[
        int | None, Meta(description="Starts for each half; as many as the sweep has if not given.")
    ] = None
    threshold: Annotated[float, Meta(ge=0, le=1, description="Strength that counts as confirmed.")] = 0.8


Choose = Callable[[Sequence[Step], Any], tuple[int, str]]


class Rule(Struct, frozen=True, kw_only=True):
    """A way to choose K: its name, its parameters' schema, and the function behind it."""

    name: str
    choose: Choose
    reads: str  # the number of a step that it looks at
    description: str
    parameters: type[Struct] = NoParameters
    measured_when_asked: bool = False  # its number costs more than the others together
    source: str = ""

    def check(self, parameters: Mapping[str, Any]) -> Any:
        """Fill in the defaults. Raises Rejected for a parameter that is unknown or invalid, naming it."""
        checked = check_parameters(self.name, self.parameters, parameters)
        restarts = getattr(checked, "restarts", None)
        if restarts is not None and restarts < 1:
            raise Rejected(f"{self.name} can't take restarts={restarts}: it must be at least 1", fields=("restarts",))
        return checked

    def document(self) -> dict[str, Any]:
        """What users see of it: parameters as a JSON schema."""
        return {
            "rule": self.name,
            "description": self.description,
            "reads": self.reads,
            "parameters": schema_of(self.parameters),
            "measured_when_asked": self.measured_when_asked,
            "source": self.source,
        }


def rule_of(name: str) -> Rule:
    """Find a rule by its name. Raises Rejected for an unknown one, naming those there are."""
    if name not in RULES:
        raise Rejected(f"No rule {name!r} to choose K by; there are {', '.join(RULES)}", fields=("choose_by",))
    return RULES[name]


def choose_k(steps: Sequence[Step], rule: str = "silhouette", **parameters: Any) -> ChosenK:
    """Choose K by a rule: one of RULES, with its parameters.

    silhouette, silhouette-euclidean, calinski-harabasz: the highest; davies-bouldin, bic: the lowest
    knee: where the objective curve bends most, the farthest below the line from its first to its last step
    stability: the largest K whose mean ARI reaches stable_ari, else the most stable one
    gap: the smallest K whose gap is not less than the next one's less standard_errors of it, else the largest K
    prediction-strength: the largest K whose strength reaches threshold, else the strongest one
    Ties go to the smaller K. Steps may come in any order; one step is chosen by any rule. Raises Rejected for no steps,
    a repeated K, an unknown rule or parameter, or a rule whose number no step has.
    """
    chosen_by = rule_of(rule)
    checked = chosen_by.check(parameters)
    ordered = sorted(steps, key=lambda step: step.k)
    if not ordered:
        raise Rejected("There are no steps to choose K from", fields=("k",))
    if len({step.k for step in ordered}) < len(ordered):
        raise Rejected("A number of clusters occurs in two steps", fields=("k",))
    if len(ordered) == 1:
        return ChosenK(ordered[0].k, rule, f"K={ordered[0].k} is the only step.")
    k, explanation = chosen_by.choose(ordered, checked)
    return ChosenK(k, rule, explanation)


def _measured(steps: Sequence[Step], name: str, otherwise: str) -> list[tuple[float, int]]:
    """The (number, K) of the steps that have it. Raises Rejected, saying why, if none has."""
    found = [(getattr(step, name, None), step.k) for step in steps]
    known = [(value, k) for value, k in found if value is not None]
    if not known:
        raise Rejected(f"No step has a {otherwise}", fields=("choose_by",))
    return known


def _highest(name: str, called: str, otherwise: str) -> Choose:
    def choose(steps: Sequence[Step], _parameters: NoParameters) -> tuple[int, str]:
        value, k = max(_measured(steps, name, otherwise), key=lambda pair: (pair[0], -pair[1]))
        return k, f"K={k} has the highest {called}, {_short(value)}, of {_tried(steps)}."

    return choose


def _lowest(name: str, called: str, otherwise: str) -> Choose:
    def choose(steps: Sequence[Step], _parameters: NoParameters) -> tuple[int, str]:
        value, k = min(_measured(steps, name, otherwise))
        return k, f"K={k} has the lowest {called}, {_short(value)}, of {_tried(steps)}."

    return choose


def _by_knee(steps: Sequence[Step], _parameters: NoParameters) -> tuple[int, str]:
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


def _by_stability(steps: Sequence[Step], parameters: StabilityParameters) -> tuple[int, str]:
    measured = _measured(steps, "stability_ari_mean", "stability: run at least two restarts")
    ari, k, reaches = _largest_reaching(measured, parameters.stable_ari)
    if reaches:
        return k, (
            f"K={k} is the largest of {_tried(steps)} whose restarts agree with a mean ARI of at least "
            f"{parameters.stable_ari:.2f}: {ari:.3f}."
        )
    return k, (
        f"K={k} is the most stable of {_tried(steps)}, with a mean ARI of {ari:.3f}; none reaches "
        f"{parameters.stable_ari:.2f}."
    )


def _by_gap(steps: Sequence[Step], parameters: GapParameters) -> tuple[int, str]:
    """The 1-standard-error rule of Tibshirani, Walther & Hastie 2001, between neighbours among the swept K."""
    _measured(steps, "gap", "gap: measure it, and let clusters be fewer than distinct rows")
    known = [step for step in steps if getattr(step, "gap", None) is not None]
    for step, following in pairwise(known):
        gap, next_gap, error = (
            float(getattr(*pair)) for pair in ((step, "gap"), (following, "gap"), (following, "gap_s"))
        )
        if gap >= next_gap - parameters.standard_errors * error:
            return step.k, (
                f"K={step.k} is the smallest of {_tried(steps)} whose gap, {gap:.3f}, the next one, {next_gap:.3f} for "
                f"K={following.k}, doesn't exceed by more than {parameters.standard_errors:g} × its error, "
                f"{error:.3f}."
            )
    last = known[-1]
    return last.k, (
        f"K={last.k} is the largest of {_tried(steps)} with a gap: it grows by more than its error up to the end, so a "
        "larger K may fit better."
    )


def _by_prediction_strength(steps: Sequence[Step], parameters: PredictionParameters) -> tuple[int, str]:
    measured = _measured(steps, "prediction_strength", "prediction strength: halves need more rows than clusters")
    strength, k, reaches = _largest_reaching(measured, parameters.threshold)
    if reaches:
        return k, (
            f"K={k} is the largest of {_tried(steps)} whose prediction strength reaches {parameters.threshold:.2f}: "
            f"{strength:.3f}."
        )
    return k, (
        f"K={k} has the highest prediction strength of {_tried(steps)}, {strength:.3f}; none reaches "
        f"{parameters.threshold:.2f}, as if there were a single cluster."
    )


def _largest_reaching(measured: Sequence[tuple[float, int]], threshold: float) -> tuple[float, int, bool]:
    """The largest K whose value reaches the threshold, else the K of the highest value; whether it does is the last."""
    reaching = [pair for pair in measured if pair[0] >= threshold]
    if reaching:
        return *max(reaching, key=lambda pair: pair[1]), True
    return *max(measured, key=lambda pair: (pair[0], -pair[1])), False


def _tried(steps: Sequence[Step]) -> str:
    return f"{len(steps)} values from {steps[0].k} to {steps[-1].k}"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:,.1f}"


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        rule.name: rule
        for rule in (
            Rule(
                name="silhouette",
                choose=_highest("silhouette", "mean silhouette", "silhouette: all have a single cluster"),
                reads="silhouette",
                description="The highest mean silhouette by cosine.",
                source="Rousseeuw 1987",
            ),
            Rule(
                name="knee",
                choose=_by_knee,
                reads="objective",
                description="Where the objective stops falling fast.",
                source="Satopää, Albrecht, Irwin & Raghavan 2011",
            ),
            Rule(
                name="stability",
                choose=_by_stability,
                reads="stability_ari_mean",
                parameters=StabilityParameters,
                description="The largest K whose restarts agree.",
            ),
            Rule(
                name="gap",
                choose=_by_gap,
                reads="gap",
                parameters=GapParameters,
                measured_when_asked=True,
                description="The smallest K whose gap over rows without clusters the next one doesn't clearly exceed.",
                source="Tibshirani, Walther & Hastie 2001",
            ),
            Rule(
                name="prediction-strength",
                choose=_by_prediction_strength,
                reads="prediction_strength",
                parameters=PredictionParameters,
                measured_when_asked=True,
                description="The largest K whose clusters in one half of the rows predict those in the other.",
                source="Tibshirani & Walther 2005",
            ),
            Rule(
                name="silhouette-euclidean",
                choose=_highest(
                    "silhouette_euclidean", "mean Euclidean silhouette", "silhouette: all have a single cluster"
                ),
                reads="silhouette_euclidean",
                measured_when_asked=True,
                description="The highest mean silhouette by Euclidean distance.",
                source="Rousseeuw 1987",
            ),
            Rule(
                name="calinski-harabasz",
                choose=_highest(
                    "calinski_harabasz", "Calinski-Harabasz index", "Calinski-Harabasz index: K must be 2 or more"
                ),
                reads="calinski_harabasz",
                description="The highest ratio of spread between clusters to spread within.",
                source="Caliński & Harabasz 1974",
            ),
            Rule(
                name="davies-bouldin",
                choose=_lowest("davies_bouldin", "Davies-Bouldin index", "Davies-Bouldin index: K must be 2 or more"),
                reads="davies_bouldin",
                description="The lowest likeness of each cluster to the one most like it.",
                source="Davies & Bouldin 1979",
            ),
            Rule(
                name="bic",
                choose=_lowest("bic", "Bayesian information criterion", "BIC: only gaussian-mixture has a likelihood"),
                reads="bic",
                description="The lowest Bayesian information criterion; of gaussian-mixture.",
                source="Schwarz 1978",
            ),
        )
    }
)
