from typing import NamedTuple

import numpy as np
import pytest
from kneed import KneeLocator
from msgspec.structs import replace

from domain.clustering import METHODS, RULES, Method, choose_k, k_means, k_subspaces, method, spherical_k_means
from domain.clustering.methods import NoParameters
from domain.errors import Rejected
from tests.domain.clustering.blobs import blobs, fingerprint


class Measured(NamedTuple):
    k: int
    objective: float = 1.0
    silhouette: float | None = None
    stability_ari_mean: float | None = None
    gap: float | None = None
    gap_s: float | None = None
    prediction_strength: float | None = None
    silhouette_euclidean: float | None = None
    calinski_harabasz: float | None = None
    davies_bouldin: float | None = None
    bic: float | None = None


def test_every_method_is_the_function_of_its_name():
    rows, _ = blobs()
    for name, parameters, direct in (
        ("k-means", {}, k_means(rows, 3, restarts=2, max_iterations=20, seed=7)),
        ("spherical-k-means", {}, spherical_k_means(rows, 3, restarts=2, max_iterations=20, seed=7)),
        ("k-subspaces", {}, k_subspaces(rows, 3, 2, restarts=2, max_iterations=20, seed=7)),
        (
            "k-subspaces",
            {"rank": 1, "start": "random"},
            k_subspaces(rows, 3, 1, start="random", restarts=2, max_iterations=20, seed=7),
        ),
    ):
        assert fingerprint(method(name).fit(rows, 3, 2, 20, 7, parameters)) == fingerprint(direct)


def test_an_unknown_method_is_rejected_with_the_names_of_those_there_are():
    with pytest.raises(Rejected, match=r"'k-medoids'; there are k-means, spherical-k-means, k-subspaces,") as caught:
        method("k-medoids")
    assert caught.value.fields == ("method",)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("k-means", {"rank": 2}, "k-means has no parameter 'rank'; it takes none"),
        ("k-subspaces", {"ranks": 2}, "k-subspaces has no parameter 'ranks'; it takes rank, start"),
        ("k-subspaces", {"rank": 0}, "k-subspaces can't take rank=0"),
        ("k-subspaces", {"rank": "two"}, "k-subspaces can't take rank='two'"),
        ("k-subspaces", {"start": "warm"}, "k-subspaces can't take start='warm'"),
        ("agglomerative", {"linkage": "single"}, "agglomerative can't take linkage='single'"),
        ("hdbscan", {"min_cluster_size": 1}, "hdbscan can't take min_cluster_size=1"),
    ],
)
def test_an_unknown_or_invalid_parameter_is_rejected_by_its_name(name, parameters, message):
    with pytest.raises(Rejected, match=message) as caught:
        method(name).fit(blobs()[0], 3, 1, 10, 0, parameters)
    assert caught.value.fields == tuple(parameters)


def test_the_highest_silhouette_wins_and_ties_go_to_fewer_clusters():
    steps = [Measured(4, silhouette=0.5), Measured(3, silhouette=0.5), Measured(2, silhouette=0.1), Measured(1)]
    chosen = choose_k(steps)
    assert (chosen.k, chosen.rule) == (3, "silhouette")
    assert chosen.explanation == "K=3 has the highest mean silhouette, 0.500, of 4 values from 1 to 4."


def test_the_knee_is_where_the_objective_stops_falling_fast():
    objectives = {2: 100.0, 3: 60.0, 4: 20.0, 5: 17.0, 6: 14.0, 7: 11.0}
    assert choose_k([Measured(k, value) for k, value in objectives.items()], "knee").k == 4


@pytest.mark.parametrize("objectives", [(5.0, 5.0, 5.0), (1.0, 2.0, 3.0), (3.0, 2.0, 1.0), (3.0, 2.9, 1.0)])
def test_a_curve_without_a_knee_gives_the_smallest_k(objectives):
    assert choose_k([Measured(k, value) for k, value in enumerate(objectives, 2)], "knee").k == 2


def test_stability_takes_the_largest_k_that_is_stable_enough():
    steps = [Measured(k, stability_ari_mean=ari) for k, ari in ((2, 0.95), (3, 0.7), (4, 0.85), (5, 0.6))]
    assert choose_k(steps, "stability").k == 4
    assert choose_k(steps, "stability", stable_ari=0.9).k == 2
    assert choose_k(steps, "stability", stable_ari=0.99).k == 2
    assert "none reaches 0.99" in choose_k(steps, "stability", stable_ari=0.99).explanation


@pytest.mark.parametrize("rule", RULES)
def test_a_single_step_is_chosen_by_any_rule(rule):
    assert choose_k([Measured(1)], rule) == (1, rule, "K=1 is the only step.")


@pytest.mark.parametrize(
    ("steps", "rule", "message"),
    [
        ([], "silhouette", "no steps"),
        ([Measured(2)], "elbow", "'elbow' to choose K by; there are silhouette, knee, stability, gap"),
        ([Measured(2), Measured(3)], "stability", "at least two restarts"),
        ([Measured(1), Measured(2)], "silhouette", "No step has a silhouette"),
        ([Measured(2), Measured(2)], "knee", "two steps"),
        ([Measured(2), Measured(3)], "gap", "No step has a gap"),
        ([Measured(2), Measured(3)], "prediction-strength", "halves need more rows"),
        ([Measured(2), Measured(3)], "bic", "only gaussian-mixture"),
    ],
)
def test_what_no_rule_can_choose_from_is_rejected(steps, rule, message):
    with pytest.raises(Rejected, match=message):
        choose_k(steps, rule)


@pytest.mark.parametrize(
    ("rule", "parameters", "field"),
    [
        ("silhouette", {"threshold": 0.5}, "threshold"),
        ("gap", {"references": 0}, "references"),
        ("gap", {"restarts": 0}, "restarts"),
        ("prediction-strength", {"threshold": 1.5}, "threshold"),
        ("stability", {"stable_ari": "high"}, "stable_ari"),
    ],
)
def test_an_unknown_or_invalid_parameter_of_a_rule_is_rejected_by_its_name(rule, parameters, field):
    with pytest.raises(Rejected, match=field) as caught:
        choose_k([Measured(2), Measured(3)], rule, **parameters)
    assert caught.value.fields == (field,)


def gaps(*pairs):
    return [Measured(k, gap=gap, gap_s=s) for k, (gap, s) in enumerate(pairs, 1)]


def test_the_gap_rule_takes_the_smallest_k_that_the_next_does_not_beat_by_an_error():
    # 0.1 < 0.3 − 0.05, 0.3 < 0.6 − 0.05, and 0.6 ≥ 0.62 − 0.05 though 0.62 is the larger one.
    steps = gaps((0.1, 0.05), (0.3, 0.05), (0.6, 0.05), (0.62, 0.05), (0.9, 0.05))
    assert choose_k(steps, "gap").k == 3
    assert choose_k(steps, "gap", standard_errors=0).k == 5
    assert choose_k(steps, "gap", standard_errors=4).k == 1
    assert choose_k(gaps((0.5, 0.01), (0.2, 0.01)), "gap").k == 1


def test_a_gap_that_grows_to_the_end_chooses_the_largest_k_and_says_so():
    chosen = choose_k(gaps((0.1, 0.01), (0.3, 0.01), (0.6, 0.01)), "gap")
    assert chosen.k == 3
    assert "a larger K may fit better" in chosen.explanation


def test_a_step_without_a_gap_is_passed_over():
    assert choose_k([*gaps((0.1, 0.01), (0.3, 0.01)), Measured(3), Measured(4, gap=0.2, gap_s=0.01)], "gap").k == 2


def test_prediction_strength_takes_the_largest_k_that_is_confirmed():
    steps = [
        Measured(k, prediction_strength=value) for k, value in ((2, 0.95), (3, 0.85), (4, 0.7), (5, 0.81), (6, 0.2))
    ]
    assert choose_k(steps, "prediction-strength").k == 5
    assert choose_k(steps, "prediction-strength", threshold=0.9).k == 2
    assert "as if there were a single cluster" in choose_k(steps, "prediction-strength", threshold=0.99).explanation


def test_indices_are_taken_where_they_are_best_and_ties_go_to_fewer_clusters():
    names = ("silhouette_euclidean", "calinski_harabasz", "davies_bouldin", "bic")
    steps = [
        Measured(k, **dict.fromkeys(names, value))
        for k, value in ((4, 2.0), (3, 5000.0), (5, 5000.0), (2, 2.0), (6, 9.0))
    ]
    assert [choose_k(steps, rule).k for rule in ("silhouette-euclidean", "calinski-harabasz")] == [3, 3]
    assert [choose_k(steps, rule).k for rule in ("davies-bouldin", "bic")] == [2, 2]
    assert choose_k(steps, "calinski-harabasz").explanation == (
        "K=3 has the highest Calinski-Harabasz index, 5,000.0, of 5 values from 2 to 6."
    )


CURVES = {
    "exponential": lambda k: 100 * 0.6**k,
    "hyperbola": lambda k: 100 / k**1.5,
    "two slopes": lambda k: 100 - 15 * k if k <= 5 else 30 - k,
    "uneven": lambda k: 100 / k**2 + 3 * (k % 3 == 0),
}


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("last", [6, 9, 20])
def test_the_knee_is_the_one_that_kneed_finds(curve, last):
    ks = list(range(1, last + 1))
    values = [CURVES[curve](k) for k in ks]
    theirs = KneeLocator(ks, values, S=0, curve="convex", direction="decreasing")
    assert choose_k([Measured(k, value) for k, value in zip(ks, values, strict=True)], "knee").k == theirs.knee


def test_every_method_and_rule_tells_its_parameters_as_a_json_schema():
    for shown in [known.document() for known in (*METHODS.values(), *RULES.values())]:
        assert shown["description"]
        assert shown["parameters"]["type"] == "object"
        for name, field in shown["parameters"]["properties"].items():
            assert field["description"], name
    rank = METHODS["k-subspaces"].document()["parameters"]["properties"]["rank"]
    assert (rank["type"], rank["minimum"], rank["default"]) == ("integer", 1, 2)


def of_another(run, **changes):
    return Method("borrowed", NoParameters, run, distribution="lenders 1.2", **changes)


ONE = k_means(blobs()[0], 3, restarts=1)[0]


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ([], "no clustering"),
        ([3], "returned a int"),
        ([replace(ONE, labels=ONE.labels[1:])], "labels are int32 of shape"),
        ([replace(ONE, labels=ONE.labels.astype(np.int64))], "labels are int64"),
        ([replace(ONE, labels=ONE.labels + 1)], "labels run from 1 to 3"),
        ([replace(ONE, centroids=ONE.centroids[:2])], "centroids are of shape"),
        ([replace(ONE, centroids=ONE.centroids * np.nan)], "not finite ones"),
        ([replace(ONE, objective=float("nan"))], "objective is nan"),
    ],
)
def test_what_is_no_clustering_is_laid_at_the_door_of_who_brought_the_method(returned, told):
    with pytest.raises(Rejected, match=told) as caught:
        of_another(lambda *_: returned).fit(blobs()[0], 3, 1, 10, 0, {})
    assert "'borrowed' of lenders 1.2" in str(caught.value)
    assert of_another(lambda *_: [ONE]).fit(blobs()[0], 3, 1, 10, 0, {}) == [ONE]


def test_another_distributions_mistake_is_told_with_its_name():
    def slip(*_):
        return {}["their own mistake"]

    with pytest.raises(Rejected, match=r"of lenders 1\.2 can't be used: KeyError: 'their own mistake'"):
        of_another(slip).fit(blobs()[0], 3, 1, 10, 0, {})


def test_what_is_not_installed_is_told_with_what_to_install():
    absent = replace(METHODS["spectral"], needs=("sklearn", "no_such_module_anywhere"))
    assert not absent.document()["installed"]
    with pytest.raises(Rejected, match=r"no_such_module_anywhere.*pip install 'study-query-llm\[clustering\]'"):
        absent.fit(blobs()[0], 3, 1, 10, 0, {})
