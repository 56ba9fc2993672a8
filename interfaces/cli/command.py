"""What every command shares: its four options, how it opens the study, how it answers and how it fails."""

import asyncio
import errno
import functools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from domain.errors import Conflict, NotFound, ProviderFailed, Rejected, StudyError, Unavailable
from interfaces.cli.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console

    from application.sweep_progress import Progress
    from infrastructure.settings import Settings
    from interfaces.study import Study

INTERRUPTED = 130
PIPED_WIDTH = 160  # when nobody's terminal says how wide it is
# Which error leads to which exit code, and the title it goes by in JSON; the first family that fits counts.
EXITS: tuple[tuple[type[StudyError], int, str], ...] = (
    (Rejected, 2, "Rejected"),
    (Conflict, 2, "Conflict"),
    (NotFound, 3, "Not found"),
    (Unavailable, 4, "Store unavailable"),
    (ProviderFailed, 1, "Provider failed"),
    (StudyError, 1, "Failed"),
)

T = TypeVar("T")


class Stopped(Exception):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Invocation:
    """One run of a command: how it was asked to answer, and where its store is."""

    def __init__(self, *, as_json: bool, database_url: str | None, home: str | None, log_level: str | None) -> None:
        self.as_json = as_json
        self.flags = {
            "database_url": database_url,
            "study_home": None if home is None else Path(home),
            "study_log_level": log_level,
        }

    @functools.cached_property
    def settings(self) -> "Settings":
        """The settings as they are now, flags first. Raises Rejected."""
        from infrastructure.settings import read_settings

        return read_settings(**self.flags)

    def run(self, work: "Callable[[Study], Awaitable[T]]") -> T:
        """Open the study, do the work in it, close it. Raises Stopped after a signal."""
        stopped: list[int] = []

        async def opened() -> T:
            from interfaces.composition import open_study
            from interfaces.signals import cancelled_by_signals, reason

            async with open_study(self.settings) as study:

                def stopping(number: int) -> None:
                    stopped.append(number)
                    study.stopping.reason = reason(number)

                with cancelled_by_signals(stopping):
                    return await work(study)

        try:
            return asyncio.run(opened())
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise Stopped(stopped[0] if stopped else signal.SIGINT) from None

    def answer(self, document: Any, show: "Callable[[Console], None] | None" = None) -> None:
        """Print one JSON document, or what `show` prints for people."""
        if self.as_json or show is None:
            click.echo(json.dumps(document, ensure_ascii=False, indent=None if self.as_json else 1))
            return
        from rich.console import Console

        show(Console(width=None if sys.stdout.isatty() else PIPED_WIDTH))

    def answer_page(
        self,
        page: dict[str, Any],
        columns: Sequence[str],
        row: Callable[[dict[str, Any]], Sequence[Any]],
        *,
        nothing: str,
    ) -> None:
        """Print a page of a list as JSON, or as a table with what leads on to the next page on stderr."""
        from interfaces.cli.tables import table

        rows = [row(item) for item in page["items"]]
        self.answer(page, lambda console: console.print(table(columns, rows) if rows else nothing))
        if page["next_cursor"] and not self.as_json:
            click.echo(f"There are more: --cursor {page['next_cursor']} goes on, --limit shows up to 1000", err=True)

    @contextmanager
    def progress(self) -> "Iterator[Progress]":
        """Progress bars on stderr, one a stage, if somebody is there to see them."""
        if self.as_json or not sys.stderr.isatty():
            from application.sweep_progress import untold

            yield untold
            return
        from rich.console import Console

        from interfaces.progress_bars import progress_bars

        with progress_bars(Console(stderr=True)) as advance:
            yield advance


def study_command(
    group: click.Group, name: str, *, examples: str = ""
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command of a group. It is called with an Invocation first, then with its own options.

    examples: shown at the end of the help, one a line.
    """

    def register(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def invoked(
            as_json: bool, database_url: str | None, home: str | None, log_level: str | None, **options: Any
        ) -> None:
            invocation = Invocation(as_json=as_json, database_url=database_url, home=home, log_level=log_level)
            with failing_in_words(as_json=as_json):
                from interfaces.logs import configure_logs

                configure_logs(invocation.settings)
                function(invocation, **options)

        for option in reversed(SHARED_OPTIONS):
            invoked = option(invoked)
        epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples.splitlines()) if examples else None
        return group.command(name, epilog=epilog)(invoked)

    return register


def as_of_a_moment(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --as-of, which it gets as its `moment`."""

    @click.option(
        "--as-of", metavar="WHEN", help="As things stood at a time (UTC unless it says), or at a position in the log."
    )
    @functools.wraps(function)
    def asked(*arguments: Any, as_of: str | None, **options: Any) -> Any:
        from interfaces.as_of import Moment

        return function(*arguments, moment=Moment(as_of), **options)

    return asked


def by_the_page(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --limit and --cursor, which it gets as its `page`."""

    @click.option("--limit", type=int, default=50, show_default=True, help="At most so many.")
    @click.option("--cursor", help="Go on after a page: its next_cursor.")
    @functools.wraps(function)
    def asked(*arguments: Any, limit: int, cursor: str | None, **options: Any) -> Any:
        from projections.paging import Paging

        return function(*arguments, page=Paging(limit, cursor), **options)

    return asked


SHARED_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Answer with one JSON document on stdout."),
    click.option("--database-url", metavar="URL", help="Use this Postgres instead of the embedded one."),
    click.option("--home", metavar="FOLDER", help="Where the embedded store and artifacts live (STUDY_HOME)."),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        help="What is logged on stderr (STUDY_LOG_LEVEL; warning).",
    ),
)


@contextmanager
def failing_in_words(*, as_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit code; what isn't ours is the program's fault and keeps its traceback."""
    try:
        yield
    except StudyError as error:
        code, title = next((code, title) for family, code, title in EXITS if isinstance(error, family))
        if as_json:
            click.echo(json.dumps(_problem(error, title), ensure_ascii=False))
        click.echo(f"Error: {visible(str(error))}", err=True)
        sys.exit(code)
    except (Stopped, KeyboardInterrupt) as stopped:
        click.echo("Stopped. What was done so far is recorded; the same command goes on from there.", err=True)
        sys.exit(128 + stopped.number if isinstance(stopped, Stopped) else INTERRUPTED)
    except BrokenPipeError:
        _leave_stdout()
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        click.echo(
            "Error: there is no room left to write what comes of this. What was done is recorded; make room, or send "
            "the output elsewhere, and ask again",
            err=True,
        )
        _leave_stdout()


def _leave_stdout() -> NoReturn:
    """Nothing can be written to it any more; Python would complain once more when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


@contextmanager
def refusing_in_words(*, as_json: bool) -> Iterator[None]:
    """Turn words that are no command into usage and an exit code, before there is an Invocation that could."""
    try:
        yield
    except click.ClickException as error:
        if as_json:
            problem: dict[str, Any] = {"title": "Usage", "detail": error.format_message()}
            if isinstance(error, click.BadParameter) and error.param is not None and error.param.name is not None:
                problem["fields"] = [error.param.name]
            click.echo(json.dumps(problem, ensure_ascii=False))
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(INTERRUPTED)


def _problem(error: StudyError, title: str) -> dict[str, Any]:
    problem: dict[str, Any] = {"title": title, "detail": str(error)}
    match error:
        case Rejected(fields=fields) if fields:
            problem["fields"] = list(fields)
        case Conflict(existing_id=existing_id) if existing_id:
            problem["existing_id"] = existing_id
        case ProviderFailed(call_id=call_id, fields=fields):
            problem["call_id"] = call_id
            if fields:
                problem["fields"] = list(fields)
    return problem


def moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Any:
    """A click callback: a time such as 2026-03-01 or 2026-03-01T12:00:00Z, in UTC when no zone is named."""
    from datetime import UTC, datetime

    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time; write 2026-03-01 or 2026-03-01T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def json_object(_context: click.Context, _parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """A click callback: a JSON object."""
    if value is None:
        return None
    try:
        found = json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{value[:60]!r} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter(f'{value[:60]!r} is no JSON object; write {{"key": "value"}}')
    return found
