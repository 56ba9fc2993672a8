"""How long the rest of a sweep is said to take."""

import pytest

from domain.sweep_pace import remaining_seconds


def test_without_a_finished_step_nobody_can_say() -> None:
    assert remaining_seconds({}, [2, 3], at_once=2) is None
    assert remaining_seconds({}, [], at_once=2) == 0.0


def test_a_step_costs_as_much_as_its_k_says() -> None:
    assert remaining_seconds({2: 2.0}, [10, 20], at_once=1) == pytest.approx(30.0)
    assert remaining_seconds({2: 2.0}, [10, 20], at_once=2) == pytest.approx(20.0)  # the longest one


def test_what_a_step_costs_anyhow_is_told_apart_from_what_a_cluster_costs() -> None:
    finished = {2: 1.2, 4: 1.4, 6: 1.6}  # a second, and a tenth for each cluster
    assert remaining_seconds(finished, [10], at_once=1) == pytest.approx(2.0)
    assert remaining_seconds(finished, list(range(7, 21)), at_once=1) == pytest.approx(14 + 18.9)


def test_steps_that_cost_less_with_more_clusters_are_taken_as_they_are_on_the_whole() -> None:
    assert remaining_seconds({2: 3.0, 3: 2.0, 4: 1.0}, [6], at_once=1) == pytest.approx(4.0)


def test_time_goes_by_between_two_steps_and_never_runs_below_nothing() -> None:
    assert remaining_seconds({2: 2.0}, [10], at_once=1, since_s=4.0) == pytest.approx(6.0)
    assert remaining_seconds({2: 2.0}, [10], at_once=1, since_s=60.0) == 0.0


def test_many_small_steps_share_the_threads() -> None:
    assert remaining_seconds({1: 1.0}, [1] * 10, at_once=2) == pytest.approx(5.0)
