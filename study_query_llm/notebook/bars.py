"""Progress under a cell of a notebook: a bar a stage, with the time that is left, and no widgets to install."""

from typing import Any

from markupsafe import Markup

from application.sweep_progress import Progress
from study_query_llm.notebook.elements import framed

BAR = Markup(
    '<div><span style="display:inline-block;min-width:9em">{stage}</span>'
    '<progress value="{done}" max="{total}" aria-label="{stage}"></progress> {done:,}/{total:,}{left}</div>'
)


def bars_in_a_cell() -> Progress:
    """Something to tell progress to, which draws it where the cell's output stands."""
    from IPython import display as ipython

    display: Any = ipython  # it has no types
    bars: dict[str, Markup] = {}
    place = display.display(display.HTML(framed()), display_id=True)

    def advance(stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
        bars[stage] = bar(stage, done, total, remaining_s)
        place.update(display.HTML(framed(*bars.values())))

    return advance


def bar(stage: str, done: int, total: int, remaining_s: float | None) -> Markup:
    """How far one stage is."""
    left = "" if remaining_s is None or done >= total else f", {max(0, round(remaining_s)):,} s left"
    return BAR.format(stage=stage, done=done, total=total, left=left)
