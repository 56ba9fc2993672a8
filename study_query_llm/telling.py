"""Telling how far something is, to whoever asked: bars on stderr or under a cell, or a function of theirs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from application.sweep_progress import Progress, untold
from study_query_llm.notebook.kernel import in_a_notebook

Told: TypeAlias = bool | Progress | None


@contextmanager
def told(progress: Told) -> Iterator[Progress]:
    """What to tell, for as long as the block runs."""
    if progress is True and in_a_notebook():
        from study_query_llm.notebook.bars import bars_in_a_cell

        yield bars_in_a_cell()
    elif progress is True:
        from rich.console import Console

        from interfaces.progress_bars import progress_bars

        with progress_bars(Console(stderr=True)) as bars:
            yield bars
    else:
        yield progress or untold
