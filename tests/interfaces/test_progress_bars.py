"""What a terminal shows of how far something is."""

import io

from rich.console import Console

from interfaces.progress_bars import progress_bars


def shown(*told: tuple[str, int, int, float | None]) -> str:
    """The last that was drawn."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with progress_bars(console) as progress:
        for stage, done, total, remaining_s in told:
            progress(stage, done, total, remaining_s=remaining_s)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n").rsplit("\r", 1)[-1]


def test_a_stage_shows_what_is_done_and_the_time_it_was_told() -> None:
    line = shown(("clustering", 3, 19, 3723.4))
    assert "clustering" in line
    assert "3/19" in line
    assert "1:02:03" in line or "1:02:02" in line  # a second may have gone by


def test_a_stage_of_which_no_time_was_told_shows_what_its_number_says() -> None:
    assert "-:--:--" in shown(("embedding", 0, 450, None))


def test_each_stage_has_a_line_of_its_own() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with progress_bars(console) as progress:
        progress("embedding", 450, 450)
        progress("clustering", 19, 19, remaining_s=0.0)
    assert isinstance(console.file, io.StringIO)
    drawn = console.file.getvalue()
    assert "450/450" in drawn
    assert "19/19" in drawn
