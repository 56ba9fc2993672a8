"""Backing the store up, and restoring it."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from interfaces.cli.command import Invocation, Stopped, study_command


def add_to(db: click.Group) -> None:
    """Add the commands."""
    study_command(
        db,
        "backup",
        examples="study db backup study-2026-03-01.zip\n"
        'study db backup "/backups/study-$(date +%F).zip" --database-url postgresql://study_app@host/study',
    )(backup)
    study_command(
        db,
        "restore",
        examples="study db restore study-2026-03-01.zip --home /srv/study\n"
        "study db restore study-2026-03-01.zip --as-copy --home ./tried",
    )(restore)


@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--without-artifacts", is_flag=True, help="Leave the files of artifacts out, if they are kept elsewhere.")
def backup(invocation: Invocation, file: Path, without_artifacts: bool) -> None:
    """Write all events, with what was asked and answered, and the files of artifacts into one new file, a zip.

    It is of one moment; others may go on using the store. Read models are left out, since they are built from the
    events. Whoever has the file can read all of it: it is made for your eyes only (mode 0600). Exits with 1 if files
    of artifacts are gone or altered; all else is in the backup then.
    """
    from interfaces.composition.backups import back_up

    with _stopped_by_signals(), invocation.progress() as progress:
        contents = back_up(invocation.settings, file, progress, without_artifacts=without_artifacts)
    size = file.stat().st_size
    document = {
        "file": str(file),
        "byte_size": size,
        "store_id": str(contents.store_id),
        "position": contents.position,
        **{table: copied.rows for table, copied in contents.tables.items()},
        "artifacts": len(contents.artifacts),
        "missing": list(contents.missing),
    }

    def show(_console: Any) -> None:
        click.echo(
            f"{contents.tables['events'].rows:,} events, up to position {contents.position}, and "
            f"{len(contents.artifacts):,} files of artifacts are in {file} ({size:,} bytes)."
        )
        click.echo(f"Try it: study db restore {file} --as-copy --home ./tried")

    invocation.answer(document, show)
    if contents.missing:
        click.echo(f"{len(contents.missing)} files of artifacts are gone or altered; see: study doctor", err=True)
        sys.exit(1)


@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--as-copy",
    is_flag=True,
    help="Make it another store, with an identity of its own, which may live beside the one that was backed up.",
)
def restore(invocation: Invocation, file: Path, as_copy: bool) -> None:
    """Fill an empty store from a backup: all of it, or nothing.

    The store is made if need be: the embedded one in a new --home, or the tables in a new database, whose owner runs
    this. It is the same store then, wherever it lies: what waits in a journal for it is appended to it. The read models
    are built when it is first used. A store that holds events is never touched.
    """
    import msgspec

    from interfaces.composition import backups

    with _stopped_by_signals(), invocation.progress() as progress:
        restored = backups.restore(invocation.settings, file, progress, as_copy=as_copy)
    invocation.answer(
        msgspec.to_builtins(restored),
        lambda _console: click.echo(
            f"{restored.events:,} events, up to position {restored.position}, and {restored.artifacts:,} files of "
            "artifacts were restored. Next: study projections rebuild && study projections verify"
        ),
    )


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End at once and clean up, for SIGTERM as for SIGINT: nothing is left of what is not whole."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Stopped as stopped:
        click.echo("Stopped before the end: nothing was written, and nothing restored.", err=True)
        sys.exit(128 + stopped.number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
