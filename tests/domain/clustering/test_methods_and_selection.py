from typing import NamedTuple

import pytest

from domain.clustering import METHODS, choose_k, k_means, k_subspaces, method, spherical_k_means
from domain.errors import Rejected
from tests.domain.clustering.blobs import blobs, fingerprint


class Measured(NamedTuple):
    k: int
    objective: float = 1.0
    silhouette: float | None = None
    stability_ari_mean: float | None = None


def test_every_method_is_the_function_of_its_name():
    rows, _ = blobs()
    assert list(METHODS) == ["k-means", "spherical-k-means", "k-subspaces"]
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
    with pytest.raises(Rejected, match=r"'k-medoids'; there are k-means, spherical-k-means, k-subspaces") as caught:
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


@pytest.mark.parametrize("rule", ["silhouette", "knee", "stability"])
def test_a_single_step_is_chosen_by_any_rule(rule):
    assert choose_k([Measured(1)], rule) == (1, rule, "K=1 is the only step.")


@pytest.mark.parametrize(
    ("steps", "rule", "message"),
    [
        ([], "silhouette", "no steps"),
        ([Measured(2)], "elbow", "'elbow' to choose K by; there are knee, silhouette, stability"),
        ([Measured(2), Measured(3)], "stability", "at least two restarts"),
        ([Measured(1), Measured(2)], "silhouette", "No step has a silhouette"),
        ([Measured(2), Measured(2)], "knee", "two steps"),
    ],
)
def test_what_no_rule_can_choose_from_is_rejected(steps, rule, message):
    with pytest.raises(Rejected, match=message):
        choose_k(steps, rule)
