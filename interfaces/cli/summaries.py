"""Summarising texts from the command line."""

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.answers import dimmed
from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from rich.console import Console

    from application.import_dataset import Table
    from application.summarise_texts import Summarised
    from interfaces.study import Study

SHOWN_CHARACTERS = 300  # of a summary, in the table


def add_to(study: click.Group) -> None:
    """Add the command."""
    study_command(
        study,
        "summarise",
        examples="study summarise reviews.csv --text-column text --provider openai --model gpt-4o-mini\n"
        "study summarise reviews --by stars --max-texts 20 --provider local\n"
        'study summarise reviews --template "In three words: {texts}" --temperature 0 --max-tokens 20 --json',
    )(summarise)


@click.argument("source", metavar="FILE|DATASET")
@click.option("--text-column", help="Column of a file's texts; `text` if there is one, else the first.")
@click.option("--by", metavar="COLUMN", help="Summarise together what has the same value; without it, each text.")
@click.option("--max-texts", type=int, default=100, show_default=True, help="With --by: so many of a value, spread.")
@click.option("--provider", help="Who summarises; without it, the first that is configured.")
@click.option("--model", help="Model, or deployment on Azure.")
@click.option(
    "--template", help="What the texts are put into, at {texts}; without it, they are summed up in a sentence."
)
@click.option("--temperature", type=float, help="0 to 2; not sent unless given.")
@click.option("--max-tokens", type=int, help="Bound on a summary; not sent unless given.")
@click.option("--group", metavar="TYPE/NAME", help="summarization_batch/NAME names the batch; another is joined.")
@click.option("--in-flight", type=int, default=8, show_default=True, help="How many to ask at a time.")
@click.option("--again", is_flag=True, help="Ask also for what was answered before.")
@click.option("--encoding", help="Encoding of a text file, such as latin-1; UTF-8 if none is named.")
def summarise(
    invocation: Invocation,
    source: str,
    text_column: str | None,
    by: str | None,
    max_texts: int,
    encoding: str | None,
    group: str | None,
    **how: Any,
) -> None:
    """Summarise every text of a file or a dataset, or the texts of each value of a column.

    Each is a recorded call. Where one fails, the first text stands in and the output says so. The same command again
    pays only for what has no answer yet.
    """
    from application.group_calls import group_place
    from application.summarise_texts import TextsToSummarise
    from domain.errors import Rejected

    table = _table(source, encoding)
    if table is None and (text_column or encoding):
        raise Rejected(
            f"--text-column and --encoding belong to a file; {source} is taken for a dataset, which knows its own",
            fields=("text_column", "encoding"),
        )
    keys: list[str] = []
    with invocation.progress() as progress:

        async def work(study: "Study") -> "Summarised":
            if table is None:
                lists = await study.summaries.lists_of_dataset(source, by=by, most=max_texts)
            else:
                column = text_column or ("text" if "text" in table.columns else next(iter(table.columns), "text"))
                lists = study.summaries.lists_of_columns(table.columns, column, by=by, most=max_texts)
            keys.extend(lists)
            wanted = TextsToSummarise(
                lists=tuple(lists.values()), group=group_place(group), source_name=Path(source).name, **how
            )
            return await study.summaries.of_texts(wanted, study.context(), progress=partial(progress, "summarising"))

        done = invocation.run(work)
    _show(invocation, done, keys, by)


def _table(source: str, encoding: str | None) -> "Table | None":
    """The file's rows; None for what can only be the name of a dataset."""
    from infrastructure.table_files import read_table

    path = Path(source)
    return read_table(path, encoding=encoding) if path.exists() or path.suffix else None


def _show(invocation: Invocation, done: "Summarised", keys: list[str], by: str | None) -> None:
    from domain.pricing import plain
    from interfaces.summaries_document import summaries_document

    document = summaries_document(done, keys)
    invocation.answer(document, lambda console: _show_table(console, document["items"], by))
    about = f"{len(keys)} summarised, {len(done.fell_back)} fell back to the first text"
    given = sum(summary.cached for summary in done.summaries)
    if given:
        about += f", {given} without a call of their own"
    about += f"; cost {'unknown' if done.cost.usd is None else f'${plain(done.cost.usd)}'}"
    told = f"— {about}; study calls --group {shlex.quote(f'summarization_batch/{done.name}')}"
    click.echo(dimmed(told), err=True)
    if len(done.fell_back) == len(keys):
        raise SystemExit(1)


def _show_table(console: "Console", items: list[dict[str, Any]], by: str | None) -> None:
    from interfaces.cli.tables import table

    rows = [[item["key"], _shortened(item["summary"]), _said(item)] for item in items]
    console.print(table([by or "row", "summary", ""], rows))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def _said(item: dict[str, Any]) -> str:
    return f"fell back: {_shortened(item['reason'] or item['status'])}" if item["fell_back"] else ""
