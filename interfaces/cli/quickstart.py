"""The whole way once: from the bundled texts to a report, with no key and no server."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from rich.console import Console

    from application.notebook import Context
    from interfaces.study import Study

SAMPLE = "quickstart_texts.csv"
DATASET = "quickstart"
PROVIDER = "local"
EMBEDDING_MODEL = "local-ngrams"
NAMES = "local/local-extract"


def add_to(study: click.Group) -> None:
    """Add the command."""
    study_command(study, "quickstart", examples="study quickstart\nstudy quickstart --out my-report.html --json")(
        quickstart
    )


@click.option("--out", type=click.Path(path_type=Path), default="report.html", show_default=True, help="File to write.")
def quickstart(invocation: Invocation, out: Path) -> None:
    """Cluster the bundled sample texts and write a report.

    Everything is recorded on the way: the calls that embed the texts, the steps of the sweep, the calls that name the
    clusters. A second time, everything comes from that record.
    """
    from interfaces.report.writing import format_of

    format_of(out)
    with invocation.progress() as progress:

        async def work(study: "Study") -> dict[str, Any]:
            from domain.sweeps import SweepConfig
            from infrastructure.table_files import read_table

            clock = study.notebook.clock
            began = clock.monotonic()
            with as_file(files("interfaces.cli") / SAMPLE) as file:
                table = read_table(file)
            context = study.context()
            dataset = await study.datasets.add(
                table, context, name=DATASET, text_column="text", label_column="topic", source_name=SAMPLE
            )
            config = SweepConfig(method="k-means", k_values=tuple(range(2, 21)), restarts=5, summarise=NAMES)
            sweep_id = await study.sweeps.of_dataset(
                DATASET, context, config=config, provider=PROVIDER, model=EMBEDDING_MODEL, progress=progress
            )
            written = await study.reports.write(sweep_id, out)
            return {
                "sweep": await study.sweeps.get(sweep_id),
                "dataset": DATASET,
                "texts": len(dataset.texts),
                "provider_calls": await _calls_made(study, context),
                "report": str(written),
                "home": str(study.settings.study_home),
                "duration_s": round(clock.monotonic() - began, 3),
            }

        done = invocation.run(work)
    invocation.answer(done, lambda console: _show(console, done))


async def _calls_made(study: "Study", context: "Context") -> int:
    """How many calls this command made; others may be asking at the same time."""
    from projections.paging import LARGEST_PAGE, Paging

    page = await study.calls.list(page=Paging(LARGEST_PAGE))
    return sum(call["correlation_id"] == str(context.correlation_id) for call in page["items"])


def _show(console: "Console", done: dict[str, Any]) -> None:
    from interfaces.cli.sweeps import show_sweep

    sweep = done["sweep"]
    show_sweep(console, sweep)
    if done["provider_calls"]:
        console.print(
            f"{done['texts']} texts, {done['provider_calls']} calls, all recorded, in {done['duration_s']:.1f} s."
        )
    else:
        console.print(
            f"Everything came from the record, in {done['duration_s']:.1f} s: no provider was called, and the sweep is "
            "the same."
        )
    console.print(
        "The provider `local` compares spelling; it is not a language model. "
        "With a key, the same study works with a real one.\n",
        highlight=False,
    )
    named_by = next((cluster["named_by_call_id"] for cluster in sweep["clusters"] if cluster["named_by_call_id"]), None)
    for what, where in (
        ("report", done["report"]),
        ("everything else", done["home"]),
        ("every event of the sweep", f"study history sweep {sweep['sweep_id']}"),
        ("a label, down to the exact bytes", f"study provenance cluster {sweep['sweep_id']}/0"),
        ("the call that named a cluster", f"study call {named_by}"),
        ("proof that tables equal events", "study projections verify"),
        ("your own texts", "study dataset import FILE.csv --name mine --text-column text"),
    ):
        console.print(f"  {what + ':':<34}{where}", markup=False, highlight=False, soft_wrap=True)
