"""Bringing texts in, and embedding them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command

if TYPE_CHECKING:
    from decimal import Decimal

    from application.embed_texts import Embedded
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def dataset() -> None:
        """Texts, with labels where there are some."""

    study_command(
        dataset,
        "import",
        examples="study dataset import reviews.csv --name reviews --text-column text --label-column stars\n"
        "study dataset import lines.txt --name lines --encoding latin-1",
    )(import_file)
    study_command(
        dataset,
        "sample",
        examples="study dataset sample reviews --as few --rows 100 --seed 7\n"
        "study dataset sample reviews --as bad --where stars=1",
    )(sample)
    study_command(dataset, "list")(list_all)
    study_command(dataset, "show", examples="study dataset show reviews")(show)
    study_command(study, "embed", examples="study embed reviews --provider openai --model text-embedding-3-small")(
        embed
    )


@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="What the dataset is called from here on.")
@click.option("--text-column", help="Column of the texts; `text` if there is one, else the first.")
@click.option("--label-column", help="Column of the labels, if there are any.")
@click.option("--encoding", help="Encoding of a text file, such as latin-1 or utf-16; UTF-8 if none is named.")
def import_file(
    invocation: Invocation,
    file: Path,
    name: str,
    text_column: str | None,
    label_column: str | None,
    encoding: str | None,
) -> None:
    """Import a CSV, TSV, JSON Lines, Parquet or plain text file. The same content again is the same dataset."""
    from infrastructure.table_files import read_table

    table = read_table(file, encoding=encoding)
    column = text_column or ("text" if "text" in table.columns else next(iter(table.columns), "text"))

    async def work(study: "Study") -> dict[str, Any]:
        dataset = await study.datasets.add(
            table, study.context(), name=name, text_column=column, label_column=label_column, source_name=file.name
        )
        return {**await study.datasets.get(name), "imported": dataset.imported}

    found = invocation.run(work)
    how = "Imported" if found["imported"] else "Had already"
    skipped = f"; {found['skipped_rows']} rows without text left out" if found["skipped_rows"] else ""
    invocation.answer(
        found,
        lambda _console: click.echo(
            f"{how} {found['row_count']} texts as {name}{skipped}.\nNext: study sweep run {name}"
        ),
    )


@click.argument("parent", metavar="DATASET")
@click.option("--as", "name", required=True, help="What the sample is called.")
@click.option("--rows", type=int, help="How many rows, by chance; all that fit without it.")
@click.option("--seed", type=int, help="The same seed draws the same rows (0).")
@click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only rows with this value; several must all fit.")
def sample(
    invocation: Invocation, parent: str, name: str, rows: int | None, seed: int | None, where: tuple[str, ...]
) -> None:
    """Draw a sample: a dataset that knows its parent. The same sample of the same dataset is the same dataset.

    Rows are kept in their order. Chance is numpy's Generator(PCG64(seed)), without replacement.
    """
    from domain.datasets import sampling_of

    sampling = sampling_of(rows, seed, _conditions(where))

    async def work(study: "Study") -> dict[str, Any]:
        drawn = await study.datasets.sample(parent, sampling, study.context(), name=name)
        return {**await study.datasets.get(name), "imported": drawn.imported}

    found = invocation.run(work)
    how = "Drew" if found["imported"] else "Had already"
    invocation.answer(
        found,
        lambda _console: click.echo(
            f"{how} {found['row_count']} texts of {parent} as {name}.\nNext: study sweep run {name}"
        ),
    )


def _conditions(where: tuple[str, ...]) -> dict[str, str]:
    from domain.errors import Rejected

    conditions: dict[str, str] = {}
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals or not column or conditions.get(column, value) != value:
            raise Rejected(f"--where {condition!r}: write COLUMN=VALUE, and each column once", fields=("where",))
        conditions[column] = value
    return conditions


@as_of_a_moment
@by_the_page
def list_all(invocation: Invocation, moment: "Moment", page: "Paging") -> None:
    """List the datasets, newest first."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.datasets.list(moment, page)

    invocation.answer_page(
        invocation.run(work),
        ["name", "texts", "text column", "label column", "imported (UTC)"],
        lambda item: [
            item["name"],
            item["row_count"],
            item["text_column"],
            item["label_column"],
            item["imported_at"][:19],
        ],
        nothing="No datasets.",
    )


@click.argument("name")
@as_of_a_moment
def show(invocation: Invocation, name: str, moment: "Moment") -> None:
    """Show one dataset."""
    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.datasets.get(name, moment)

    found = invocation.run(work)
    rows = [[key, str(value)] for key, value in found.items() if value not in (None, {}, "")]
    invocation.answer(found, lambda console: console.print(table(["dataset", name], rows)))


@click.argument("name", metavar="DATASET")
@click.option("--provider", help="azure, openai or local; without it, the first that is configured.")
@click.option("--model", help="Embedding model, or deployment on Azure.")
@click.option("--dimensions", type=int, help="Length of the vectors, for models that can shorten them.")
def embed(invocation: Invocation, name: str, provider: str | None, model: str | None, dimensions: int | None) -> None:
    """Embed a dataset. Texts that were embedded before with the same model cost nothing."""
    from domain.pricing import plain

    with invocation.progress() as progress:

        async def work(study: "Study") -> "Embedded":
            return await study.embeddings.of_dataset(
                name, study.context(), provider=provider, model=model, dimensions=dimensions, progress=progress
            )

        embedded = invocation.run(work)
    document = {
        "dataset": name,
        "provider": embedded.provider,
        "model": embedded.model,
        "texts": len(embedded.request_hashes),
        "dimension": int(embedded.vectors.shape[1]),
        "cached": int(embedded.cached.sum()),
        "calls": len({*embedded.call_ids}),
        "cost": plain(embedded.cost),
        "saved": plain(embedded.saved),
        "position": embedded.position,
    }
    invocation.answer(
        document,
        lambda _console: click.echo(
            f"{document['texts']} texts as vectors of {document['dimension']} dimensions by "
            f"{embedded.provider}/{embedded.model}; {document['cached']} came from the cache. "
            f"They cost {_dollars(embedded.cost)}, and {_dollars(embedded.saved)} were saved."
        ),
    )


def _dollars(amount: "Decimal | None") -> str:
    from domain.pricing import plain

    return "an unknown sum" if amount is None else f"${plain(amount)}"
