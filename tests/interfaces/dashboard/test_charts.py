"""Charts without a script: where things stand, what the pointer is told, and what must not be markup."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from interfaces.dashboard.charts import MOST_DOTS, MOST_TOLD, against_k, lines_over_time, ranges
from interfaces.dashboard.scales import of_numbers, of_times, of_whole_numbers
from interfaces.report.looks import Series

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def hours(*values: float | None) -> dict[datetime, float | None]:
    return {NOON + timedelta(hours=number): value for number, value in enumerate(values)}


def lines_in(picture: str) -> list[str]:
    """The paths of lines, without rules, dots and keys."""
    return re.findall(r'<path d="([^"]*)" style="stroke: [^"]*stroke-width: 2;', picture.partition('class="chart"')[2])


@pytest.mark.parametrize(
    ("values", "from_zero", "written"),
    [
        ([3, 17], True, ["0", "5", "10", "15", "20"]),
        ([0.161, 0.248], False, ["0.16", "0.18", "0.20", "0.22", "0.24", "0.26"]),
        ([12_000, 48_000], True, ["0", "10,000", "20,000", "30,000", "40,000", "50,000"]),
        ([-0.1, 0.1], False, ["-0.10", "-0.05", "0.00", "0.05", "0.10"]),
        ([], True, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0, 0], True, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_numbers_are_written_at_round_steps(values: list[float], from_zero: bool, written: list[str]) -> None:
    assert [each for _, each in of_numbers(values, from_zero=from_zero).ticks] == written


@pytest.mark.parametrize("values", [[5.0], [-5.0], [1e-9, 3e-9], [1e12], [0.1, 0.30000000000000004]])
def test_every_value_stands_within_its_axis(values: list[float]) -> None:
    scale = of_numbers(values, from_zero=False)
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in values)
    assert len(scale.ticks) <= 8


@pytest.mark.parametrize("values", [[2, 20], [7], [2, 3], [2, 300]])
def test_only_whole_numbers_of_clusters_are_written(values: list[int]) -> None:
    scale = of_whole_numbers(values)
    assert all(float(written) == value and value == int(value) for value, written in scale.ticks)
    assert 1 <= len(scale.ticks) <= 20
    assert all(0 < scale.place(value) < 1 for value in values)


@pytest.mark.parametrize(
    ("length", "written"),
    [
        (timedelta(minutes=4), ["12:00", "12:01", "12:02", "12:03", "12:04"]),
        (timedelta(hours=18), ["12:00", "15:00", "18:00", "21:00", "2 Mar", "03:00", "06:00"]),
        (timedelta(days=5), ["2 Mar", "3 Mar", "4 Mar", "5 Mar", "6 Mar"]),
    ],
)
def test_times_are_written_at_whole_minutes_hours_or_days(length: timedelta, written: list[str]) -> None:
    assert [each for _, each in of_times([NOON, NOON + length]).ticks] == written


def test_a_missing_value_is_a_gap_and_a_value_alone_is_a_dot() -> None:
    picture = str(lines_over_time("Calls", {"local": hours(1, 2, None, 4, None, 3, 1)}))
    (line,) = lines_in(picture)
    assert re.sub(r"[\d. ]", "", line) == "MLMML"
    many = hours(*([1.0] * (MOST_DOTS + 1)), None, 5.0, None, 1.0, 2.0)
    dots = re.findall(r'<path d="([^"]*)" stroke=', str(lines_over_time("Calls", {"local": many})))
    assert [each.count("h0") for each in dots] == [1]


def test_the_pointer_is_told_every_value_of_a_moment_and_no_more_than_it_can_tell_apart() -> None:
    picture = str(lines_over_time("Calls", {"openai": hours(1, 2_000), "local": hours(None, 0.25)}))
    assert "<title>2026-03-01 12:00\nopenai: 1</title>" in picture
    assert "<title>2026-03-01 13:00\nopenai: 2,000\nlocal: 0.25</title>" in picture
    assert str(lines_over_time("Calls", {"local": hours(*([1.0] * 2_000))})).count("<title>") <= MOST_TOLD


def test_several_lines_have_a_key_and_one_has_none() -> None:
    assert "legend" not in str(lines_over_time("Calls", {"local": hours(1, 2)}))
    assert str(lines_over_time("Calls", {"a": hours(1), "b": hours(2)})).count("<li>") == 2


def test_a_curve_shows_its_spread_and_the_chosen_k() -> None:
    series = Series("Stability", [0.5, None, 0.75], [0.1, None, None])
    picture = str(against_k("Stability against K", [2, 3, 4], [series], 4))
    assert "<title>K = 2\nStability: 0.5 ± 0.1000</title>" in picture
    assert "<title>K = 3</title>" in picture
    assert "<title>K = 4\nStability: 0.75</title>" in picture
    assert picture.count('class="chosen"') == 1
    assert 'aria-label="Stability against K"' in picture


def test_ranges_say_all_three_values() -> None:
    assert "<title>m\np50 5 ms\np95 50 ms\np99 1,100 ms</title>" in str(ranges("milliseconds", [("m", 5, 50, 1_100)]))


def test_names_are_never_taken_for_markup() -> None:
    evil = '"><script>alert(1)</script>'
    pictures = (
        lines_over_time(evil, {evil: hours(1, 2), "b": hours(1)}),
        against_k(evil, [2, 3], [Series(evil, [1.0, 2.0]), Series(evil, [1.0, 2.0])], 2),
        ranges(evil, [(evil, 1, 2, 3)]),
    )
    assert all("<script" not in str(picture) for picture in pictures)
