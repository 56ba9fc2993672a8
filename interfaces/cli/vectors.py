"""Searching embedded texts, and vectors that come in."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, moment, study_command

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the commands."""
    study_command(
        study,
        "similar",
        examples='study similar "a train to Rome"\n'
        'study similar "a train to Rome" --model text-embedding-3-small --limit 50',
    )(similar)
    study_command(
        group_named(study, "import", "Bring in what was made elsewhere."),
        "vectors",
        examples="study import vectors vectors.npy --texts reviews.csv:text",
    )(import_vectors)


def group_named(study: click.Group, name: str, explanation: str) -> click.Group:
    """The group of this name, which other kinds of things may have made."""
    found = study.commands.get(name)
    if isinstance(found, click.Group):
        return found
    made = click.Group(name, help=explanation)
    study.add_command(made)
    return made


def _filters(command: Any) -> Any:
    """Which vectors are meant, as options."""
    options = (
        click.option("--provider", help="Only this provider's."),
        click.option("--model", help="Only this model's; without it, that of the only vectors there are."),
        click.option("--dimensions", type=int, help="Only vectors of this length."),
        click.option("--group", metavar="TYPE/NAME", help="Only those of a group's calls."),
        click.option("--since", callback=moment, metavar="WHEN", help="Not embedded before this time."),
        click.option("--until", callback=moment, metavar="WHEN", help="Embedded before this time."),
        as_of_a_moment,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.argument("text")
@_filters
@click.option("--limit", type=int, default=10, show_default=True, help="At most so many texts, 1 to 1000.")
def similar(invocation: Invocation, text: str, limit: int, moment: "Moment", **filters: Any) -> None:
    """Find the embedded texts that are most similar to a text, by cosine.

    TEXT is embedded by the same model, which is recorded, and paid for once.
    """
    from application.find_similar import SimilarTo
    from interfaces.cli.tables import short, table
    from interfaces.study.vectors import filter_of

    async def work(study: "Study") -> dict[str, Any]:
        asked = SimilarTo(text=text, wanted=filter_of(**filters), limit=limit)
        return await study.vectors.similar(asked, study.context(), moment)

    found = invocation.run(work)
    rows = [[item["similarity"], short(item["text"], 80), item["call_id"]] for item in found["items"]]
    columns = ["similarity", "text", "call"]
    invocation.answer(found, lambda console: console.print(table(columns, rows) if rows else "No texts."))


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--texts", metavar="FILE[:COLUMN]", help="Their texts, in the same order; the first column.")
@click.option("--labels", metavar="FILE[:COLUMN]", help="Their labels, in the same order; the last column.")
def import_vectors(invocation: Invocation, file: Path, texts: str | None, labels: str | None) -> None:
    """Record vectors made elsewhere: an NPY matrix, one row a vector. The event says who brought it, and from where.

    `study sweep run --vectors` clusters such vectors; `study similar` doesn't search in them.
    """
    from infrastructure.table_files import read_vectors
    from interfaces.cli.sweeps import column_of

    async def work(study: "Study") -> dict[str, Any]:
        return await study.vectors.add(
            read_vectors(file),
            study.context(),
            texts=None if texts is None else column_of(texts, "texts", last=False),
            labels=None if labels is None else column_of(labels, "labels", last=True),
            source_name=file.name,
        )

    kept = invocation.run(work)
    invocation.answer(
        kept,
        lambda _console: click.echo(
            f"{kept['row_count']} vectors of {kept['dimension']} dimensions, recorded as {kept['vectors_id']}.\n"
            "`study similar` doesn't search in them; `study sweep run --vectors` clusters them.\n"
            f"Next: study history vectors {kept['vectors_id']}"
        ),
    )
