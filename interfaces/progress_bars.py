"""Progress on a terminal: a bar a stage, with the time that is left."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from application.sweep_progress import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars


@contextmanager
def progress_bars(console: "Console") -> Iterator[Progress]:
    """Bars for as long as the block runs; what it gives draws them."""
    with _bars(console) as bars:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, told_at=None, remaining_s=None)
            told_at = None if remaining_s is None else bars.get_time()
            bars.update(tasks[stage], completed=done, total=total, remaining_s=remaining_s, told_at=told_at)

        yield advance


def _bars(console: "Console") -> "Bars":
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Remaining(ProgressColumn):
        """What was told of the time that is left, else what the number of what is done says."""

        by_number = TimeRemainingColumn()

        def render(self, task: Task) -> Text:
            told_at, remaining_s = task.fields["told_at"], task.fields["remaining_s"]
            if told_at is None or task.finished:
                return self.by_number.render(task)
            seconds = max(0, round(remaining_s - (task.get_time() - told_at)))
            minutes, seconds = divmod(seconds, 60)
            hours, minutes = divmod(minutes, 60)
            return Text(f"{hours:d}:{minutes:02d}:{seconds:02d}", style="progress.remaining")

    return Bars(TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), Remaining(), console=console)
