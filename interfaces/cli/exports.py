"""What is recorded, as files."""

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.call_filter import filtered, searched, with_options
from interfaces.cli.command import Invocation, as_of_a_moment, moment, study_command

if TYPE_CHECKING:
    from application.export_rows import Export, Exported
    from interfaces.as_of import Moment
    from interfaces.study import Study

STDOUT = "-"


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group("export", help="Write what is recorded to files.")
    def exports() -> None:
        pass

    study_command(
        exports,
        "calls",
        examples="study export calls --format parquet --out calls.parquet\n"
        "study export calls --format jsonl --out - --status failed --since 2026-03-01 | head\n"
        "study export calls --format csv --spreadsheet --out calls.csv --group batch/primes\n"
        "study export calls --format parquet --out primes.parquet --search '\"prime numbers\"' --in answer",
    )(export_calls)
    study_command(
        exports,
        "embeddings",
        examples="study export embeddings --format parquet --out vectors.parquet\n"
        "study export embeddings --format npy --out vectors.npy --group batch/trains --as-of 2026-03-01",
    )(export_embeddings)
    study_command(
        exports,
        "analytics",
        examples="study export analytics --format parquet --out days.parquet --bucket day --timezone Europe/Berlin\n"
        "study export analytics --format csv --out models.csv --table providers --since 2026-03-01",
    )(export_analytics)
    study_command(
        exports,
        "events",
        examples="study export events --format jsonl --out events.jsonl --since 2026-03-01\n"
        "study export events --format parquet --out calls.parquet --kind call",
    )(export_events)


def _file(*formats: str, default: str | None = None, explained: str) -> Callable[[Any], Any]:
    """Give a command the options that say which file."""
    options = (
        click.option(
            "--format",
            "file_format",
            type=click.Choice(formats),
            **({"required": True} if default is None else {"default": default, "show_default": True}),
            help=explained,
        ),
        click.option(
            "--out", required=True, metavar="FILE|-", help="The file to write, which replaces one there; - is stdout."
        ),
        click.option(
            "--spreadsheet",
            is_flag=True,
            help="With csv: put an apostrophe before texts that a spreadsheet takes for formulas.",
        ),
        as_of_a_moment,
    )

    return partial(with_options, options)


@_file("parquet", "jsonl", "csv", explained="parquet has types; in jsonl JSON stands as JSON, in the others as text.")
@filtered
@searched
def export_calls(
    invocation: Invocation, file_format: str, out: str, spreadsheet: bool, moment: "Moment", **filters: Any
) -> None:
    """Write calls with their requests and answers to a file, the oldest first; or what a search finds."""
    from interfaces.study.calls import calls_wanted

    async def prepared(study: "Study") -> "Export[Any]":
        return await study.exports.calls(file_format, calls_wanted(**filters), moment, spreadsheet=spreadsheet)

    written(invocation, prepared, out)


@_file("parquet", "npy", "jsonl", "csv", explained="npy holds the matrix alone, the others texts and calls too.")
@click.option("--provider", help="Only this provider's.")
@click.option("--model", help="Only this model's; without it, that of the only vectors there are.")
@click.option("--dimensions", type=int, help="Only vectors of this length.")
@click.option("--group", metavar="TYPE/NAME", help="Only those of a group's calls.")
@click.option("--since", callback=moment, metavar="WHEN", help="Not embedded before this time.")
@click.option("--until", callback=moment, metavar="WHEN", help="Embedded before this time.")
def export_embeddings(
    invocation: Invocation, file_format: str, out: str, spreadsheet: bool, moment: "Moment", **filters: Any
) -> None:
    """Write the vectors of one model to a file, in the order in which they were embedded."""
    from interfaces.study.vectors import filter_of

    async def prepared(study: "Study") -> "Export[Any]":
        return await study.exports.embeddings(file_format, filter_of(**filters), moment, spreadsheet=spreadsheet)

    written(invocation, prepared, out)


@_file("parquet", "jsonl", "csv", explained="parquet has types; costs are exact in all.")
@click.option(
    "--table",
    type=click.Choice(["timeseries", "providers", "errors", "summary"]),
    default="timeseries",
    show_default=True,
    help="Which of `study analytics`.",
)
@click.option("--bucket", type=click.Choice(["minute", "hour", "day"]), help="Of a time series; hour.")
@click.option("--timezone", metavar="TZ", help="Of a time series: where its buckets begin; UTC.")
@click.option("--by", type=click.Choice(["provider", "model"]), help="Of a time series; provider.")
@filtered
def export_analytics(
    invocation: Invocation,
    file_format: str,
    out: str,
    spreadsheet: bool,
    moment: "Moment",
    table: str,
    bucket: str | None,
    timezone: str | None,
    by: str | None,
    **filters: Any,
) -> None:
    """Write calls added up to a file: over time, by model, by error, or all in one row."""
    from interfaces.study.analytics import analytics_wanted

    given = {"bucket": bucket, "timezone": timezone, "by": by}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    async def prepared(study: "Study") -> "Export[Any]":
        return await study.exports.analytics(
            file_format, analytics_wanted(**filters), moment, table=table, spreadsheet=spreadsheet, **options
        )

    written(invocation, prepared, out)


@_file("parquet", "jsonl", "csv", default="jsonl", explained="jsonl has one event a line, as the log's routes show it.")
@click.option("--after", type=int, default=0, metavar="POSITION", help="Events behind this position of the log.")
@click.option("--kind", help="What they are about: call, group, sweep …")
@click.option("--event", help="Their name: call.answered, or call.answered.v1.")
@click.option("--entity", metavar="ID", help="The one thing they are about.")
@click.option("--actor", help="On whose behalf they happened.")
@click.option("--process", help="Who wrote them.")
@click.option("--correlation", "correlation_id", type=click.UUID, metavar="ID", help="The command they belong to.")
@click.option("--since", callback=moment, metavar="WHEN", help="Recorded not before this time (UTC unless it says).")
@click.option("--until", callback=moment, metavar="WHEN", help="Recorded before this time.")
def export_events(
    invocation: Invocation,
    file_format: str,
    out: str,
    spreadsheet: bool,
    moment: "Moment",
    after: int,
    **filters: Any,
) -> None:
    """Write events in order to a file."""
    from interfaces.study.audit import events_wanted

    async def prepared(study: "Study") -> "Export[Any]":
        wanted = events_wanted(**filters)
        return await study.exports.events(file_format, wanted, moment, after=after, spreadsheet=spreadsheet)

    written(invocation, prepared, out)


def written(invocation: Invocation, prepared: "Callable[[Study], Awaitable[Export[Any]]]", out: str) -> None:
    """Write an export to a file or to stdout, and tell of it."""
    import msgspec

    if out == STDOUT:
        _to_stdout(invocation, prepared)
        return
    with invocation.progress() as progress:

        async def work(study: "Study") -> "Exported":
            export = await prepared(study)
            return await study.exports.to_file(
                export, Path(out), told=lambda rows, total: progress(export.what, rows, total or rows)
            )

        done = invocation.run(work)
    document = {name: value for name, value in msgspec.to_builtins(done).items() if value is not None}
    of = "" if done.dimension is None else f" of {done.dimension} dimensions by {done.provider}/{done.model}"
    invocation.answer(
        document,
        lambda _console: click.echo(
            f"{done.rows:,} {done.what}{of} in {out} ({done.bytes:,} bytes), as of position {done.position}."
        ),
    )


def _to_stdout(invocation: Invocation, prepared: "Callable[[Study], Awaitable[Export[Any]]]") -> None:
    from domain.errors import Rejected

    if invocation.as_json:
        raise Rejected("--out - writes the file to stdout, where --json answers; leave one away", fields=("out",))
    file = sys.stdout.buffer

    async def work(study: "Study") -> "Export[Any]":
        export = await prepared(study)
        if export.format in ("parquet", "npy") and file.isatty():
            raise Rejected(f"{export.format} is nothing for a terminal; give a file, or `| cat`", fields=("out",))
        async for chunk in export.chunks():
            file.write(chunk)
        file.flush()
        return export

    done = invocation.run(work)
    click.echo(f"{done.rows:,} {done.what}, as of position {done.position}.", err=True)
