"""Files that were kept, from the command line."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import (
    Invocation,
    as_of_a_moment,
    by_the_page,
    json_object,
    study_command,
)

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def artifact() -> None:
        """Files that were kept: results, labels, components, metrics, reports, or any other."""

    study_command(
        artifact,
        "keep",
        examples="study artifact keep results.json --group experiment/march --type results\n"
        "study artifact keep labels.npy --group run/first --type labels --step k=8",
    )(keep)
    study_command(artifact, "list", examples="study artifact list --group experiment/march")(list_all)
    study_command(
        artifact,
        "get",
        examples="study artifact get 0195512a-7c00-7000-8000-000000000001 --out labels.npy\n"
        "study artifact get 0195512a-7c00-7000-8000-000000000001/run/results.json",
    )(get)


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--group", required=True, help="The group that it belongs to, TYPE/NAME or an id.")
@click.option("--type", "artifact_type", required=True, help="What it is: results, labels, metrics, report …")
@click.option("--step", help="The second part of its name; a step's own, or the group's type.")
@click.option("--call", metavar="CALL_ID", help="The call that it came from.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="What else is to be known, a JSON object.")
def keep(
    invocation: Invocation,
    file: Path,
    group: str,
    artifact_type: str,
    step: str | None,
    call: str | None,
    metadata: dict[str, Any] | None,
) -> None:
    """Keep a file as {run}/{step}/{type}.{ext}. The same content under the same name is the same artifact.

    Of JSON, NPY, Parquet and CSV the shape is kept as well; a file that is not what its ending says is refused.
    """
    from application.keep_file import FileOfGroup
    from domain.errors import NotFound, Rejected
    from interfaces.study.groups import group_id_in
    from interfaces.study.words import id_of

    if file.exists() and not file.is_file():
        raise Rejected(f"{file} is no file that can be kept, but a folder, a pipe or a device", fields=("file",))
    try:
        opened = file.open("rb")
    except FileNotFoundError:
        raise NotFound(f"There is no file {file}") from None
    except OSError as error:
        raise Rejected(f"{file} can't be read: {error.strerror}", fields=("file",)) from None
    with opened:
        wanted = FileOfGroup(
            file=opened,
            extension=file.suffix.removeprefix(".") or "bin",
            group_id=group_id_in(group),
            artifact_type=artifact_type,
            step=step,
            call_id=None if call is None else id_of(call),
            metadata=metadata or {},
        )

        async def work(study: "Study") -> dict[str, Any]:
            return await study.artifacts.keep(wanted, study.context())

        kept = invocation.run(work)
    invocation.answer(kept, lambda _console: click.echo(f"Kept {kept['name']}, {kept['artifact_id']}."))


@click.option("--group", help="Only those of a group, TYPE/NAME or an id.")
@click.option("--type", "artifact_type", help="Only those of this type.")
@as_of_a_moment
@by_the_page
def list_all(invocation: Invocation, **filters: Any) -> None:
    """List the artifacts, newest first."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.artifacts.list(**filters)

    invocation.answer_page(
        invocation.run(work),
        ["name", "shape", "bytes", "kept (UTC)", "id"],
        lambda item: [
            item["name"],
            None if item["shape"] is None else " × ".join(map(str, item["shape"])),
            item["byte_size"],
            item["kept_at"][:19],
            item["artifact_id"],
        ],
        nothing="No artifacts.",
    )


@click.argument("artifact", metavar="ID|NAME")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the file there, or into that folder under the last part of its name; - writes to standard output.",
)
@as_of_a_moment
def get(invocation: Invocation, artifact: str, out: Path | None, moment: "Moment") -> None:
    """Show an artifact, or write its file. A NAME is {run}/{step}/{type}.{ext}, and means the newest of that name."""
    from interfaces.cli.tables import table

    into_folder = out is not None and out.is_dir()

    async def work(study: "Study") -> dict[str, Any]:
        found = await study.artifacts.get(artifact, moment)
        if out is None:
            return found
        if str(out) == "-":
            await _print(study, found)
            return found
        target = out / Path(found["name"]).name if into_folder else out
        await _write(study, found, target)
        return {**found, "out": str(target)}

    found = invocation.run(work)
    if out is None:
        rows = [[key, str(value)] for key, value in found.items() if value not in (None, {}, "")]
        invocation.answer(found, lambda console: console.print(table(["artifact", found["name"]], rows)))
    elif str(out) != "-":
        invocation.answer(found, lambda _console: click.echo(f"Wrote {found['out']}"))


async def _print(study: "Study", found: dict[str, Any]) -> None:
    async for block in study.artifacts.blocks(found):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


async def _write(study: "Study", found: dict[str, Any], target: Path) -> None:
    """Write the file, whole or not at all, once its bytes fit their hash. Raises Rejected."""
    from domain.errors import Rejected

    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            async for block in study.artifacts.blocks(found):
                file.write(block)
        temporary.replace(target)
    except OSError as error:
        raise Rejected(f"{target} can't be written: {error.strerror}", fields=("out",)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()  # there only if it did not become the file
