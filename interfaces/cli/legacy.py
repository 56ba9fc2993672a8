"""Bringing an older notebook in, and comparing it with what came of it."""

import sys
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, study_command
from interfaces.cli.vectors import group_named

if TYPE_CHECKING:
    from application.import_legacy_runs import Imported
    from application.validate_legacy_import import Validation
    from interfaces.study import Study

FEW = 20


def add_to(study: click.Group) -> None:
    """Add the commands."""
    group = group_named(study, "import", "Bring in what was made elsewhere.")
    study_command(
        group,
        "legacy",
        examples="study import legacy --legacy-url sqlite:////data/legacy.db --dry-run\n"
        "study import legacy --legacy-url postgresql://reader@host/old --timezone Europe/Berlin",
    )(import_legacy)
    study_command(
        group,
        "validate",
        examples="study import validate --legacy-url sqlite:////data/legacy.db && echo equal\n"
        "study import validate --legacy-url postgresql://reader@host/old --sample 1000 --seed 7 --json",
    )(validate)


def _which(command: Any) -> Any:
    """The options that say which database, and how to read it."""
    options = (
        click.option(
            "--legacy-url", metavar="URL", help="sqlite:////path or postgresql://…; without it LEGACY_DATABASE_URL."
        ),
        click.option("--timezone", default="UTC", show_default=True, metavar="TZ", help="Of times that name none."),
        click.option("--source", metavar="NAME", help="What the database is known by, if not by its first row."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@_which
@click.option("--dry-run", is_flag=True, help="Say what would be done, and what is odd; write nothing.")
def import_legacy(
    invocation: Invocation, legacy_url: str | None, timezone: str, source: str | None, dry_run: bool
) -> None:
    """Import the rows of an older `inference_runs` as calls, at their own times; its batches become groups.

    The older database is only read. A second run changes nothing, and one that was broken off goes on. Rows that are
    odd are imported as far as they go, and named.
    """
    import msgspec

    from interfaces.cli.tables import table

    with invocation.progress() as progress:

        async def work(study: "Study") -> "Imported":
            return await study.legacy.import_runs(
                study.context(),
                url=legacy_url,
                timezone=timezone,
                source=source,
                dry_run=dry_run,
                told=lambda done, total: progress("rows", done, total),
            )

        done = invocation.run(work)

    def show(console: Any) -> None:
        verb = "would be imported" if dry_run else "imported"
        click.echo(
            f"{done.rows:,} rows of {done.database}: {done.imported:,} {verb} "
            f"({done.failed:,} as failed calls) in {done.groups:,} new groups; "
            f"{done.already_there:,} were there already, {done.not_imported:,} can't be imported."
        )
        if done.naive_times:
            click.echo(f"{done.naive_times:,} times name no zone: taken as {done.timezone} (--timezone changes that).")
        _show_odd(console, done.odd, done.odd_rows, table)
        if not dry_run:
            click.echo("Next: study import validate")

    invocation.answer(msgspec.to_builtins(done), show)


@_which
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Compare only so many rows one by one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which rows those are.")
def validate(
    invocation: Invocation, legacy_url: str | None, timezone: str, source: str | None, sample: int | None, seed: int
) -> None:
    """Compare an older database with what was imported from it. Exits with 1 if anything differs, and names it.

    Counts, batch sizes, times and each provider's tokens and latencies of all rows; and row by row what each says.
    """
    import msgspec

    from interfaces.cli.tables import table

    with invocation.progress() as progress:

        async def work(study: "Study") -> "Validation":
            return await study.legacy.validate(
                url=legacy_url,
                timezone=timezone,
                source=source,
                sample=sample,
                seed=seed,
                told=lambda done, total: progress("rows", done, total),
            )

        found = invocation.run(work)

    def show(console: Any) -> None:
        if found.differences:
            rows = [[each.row, each.what, _text(each.legacy), _text(each.imported)] for each in found.differences]
            console.print(table(["row", "what", "legacy", "imported"], rows))
        _show_odd(console, found.odd, found.odd_rows, table)
        click.echo(
            f"{found.rows:,} rows of {found.database}, {found.compared:,} compared one by one; "
            f"{found.imported:,} calls in {found.batches:,} batches: "
            + (
                "no difference."
                if found.equal
                else f"{found.different:,} difference{'' if found.different == 1 else 's'}."
            )
        )

    invocation.answer({"equal": found.equal, **msgspec.to_builtins(found)}, show)
    if not found.equal:
        sys.exit(1)


def _show_odd(console: Any, odd: Any, count: int, table: Any) -> None:
    if not odd:
        return
    console.print(table(["row", "what is odd"], [[each.row, each.reason] for each in odd[:FEW]]))
    if count > FEW:
        click.echo(f"{count - FEW:,} more rows are odd; --json names them")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
