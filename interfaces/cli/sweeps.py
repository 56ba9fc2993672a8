"""Clustering studies from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from application.compute import LOCAL
from interfaces.cli import sweep_life
from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command

if TYPE_CHECKING:
    from rich.console import Console

    from application.sweep_progress import Progress
    from domain.sweeps import SweepConfig
    from interfaces.as_of import Moment
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def sweep() -> None:
        """Clustering for every K, and the K that fits."""

    study_command(
        sweep,
        "run",
        examples="study sweep run reviews --k-max 30\n"
        "study sweep run reviews --method k-subspaces --rank 2 --summarise openai/gpt-4o-mini\n"
        "study sweep run --vectors vectors.npy --texts reviews.csv:text --labels reviews.csv:stars\n"
        "study sweep run reviews --choose-by gap --choose-param references=20 --also-measure prediction-strength\n"
        "study sweep run reviews --method hdbscan --param min_cluster_size=10\n"
        "study sweep run reviews --method k-llmmeans --summarise openai/gpt-4o-mini --param rounds=3\n"
        "study sweep run reviews --compute tcp://127.0.0.1:8786",
    )(run)
    sweep_life.add_to(sweep)
    study_command(sweep, "methods", examples="study sweep methods --json")(list_methods)
    study_command(sweep, "rules", examples="study sweep rules --json")(list_rules)
    study_command(sweep, "list")(list_all)
    study_command(sweep, "show")(show)
    study_command(
        study,
        "report",
        examples="study report 1fc6734e-01a1-5f71-820e-31f1e0df585a --out report.html\n"
        "study report 1fc6734e-01a1-5f71-820e-31f1e0df585a --out report.md",
    )(report)


@click.argument("dataset", required=False)
@click.option("--vectors", type=click.Path(path_type=Path), help="NPY matrix made elsewhere, one row a vector.")
@click.option("--texts", metavar="FILE[:COLUMN]", help="Texts of --vectors, in their order; the first column.")
@click.option("--labels", metavar="FILE[:COLUMN]", help="Labels of --vectors, in their order; the last column.")
@click.option("--provider", help="Who embeds DATASET; without it, the first that is configured.")
@click.option("--model", help="Embedding model.")
@click.option("--dimensions", type=int, help="Length of the vectors, for models that can shorten them.")
@click.option(
    "--method", default="k-means", show_default=True, help="How to cluster; `study sweep methods` lists them."
)
@click.option("--param", multiple=True, metavar="NAME=VALUE", help="A parameter of the method; may be repeated.")
@click.option("--k-min", type=int, help="Smallest K.  [default: 2]")
@click.option("--k-max", type=int, help="Largest K.  [default: 20]")
@click.option("--restarts", type=int, default=10, show_default=True, help="Starts for each K; the best is kept.")
@click.option("--max-iter", type=int, default=200, show_default=True, help="Iterations of a start at most.")
@click.option("--pca-dim", type=int, default=64, show_default=True, help="Principal components kept; 0 keeps all.")
@click.option("--unit-norm/--no-unit-norm", default=True, show_default=True, help="Scale rows to length 1 first.")
@click.option("--centre/--no-centre", default=None, help="Subtract the mean; without it, where rows are projected.")
@click.option("--unit-norm-after", is_flag=True, help="Scale rows to length 1 again, after projecting.")
@click.option("--rank", type=int, help="Rank of the subspaces, for k-subspaces (2).")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bits.")
@click.option("--summarise", metavar="PROVIDER/MODEL", help="Who names the clusters; without it they are numbered.")
@click.option("--name-every-k", is_flag=True, help="Name the clusters of every K, not only of the chosen one.")
@click.option(
    "--coverage-threshold", type=float, default=0.2, show_default=True, help="Cosine distance that counts as covered."
)
@click.option(
    "--choose-by", default="silhouette", show_default=True, help="Rule for K; `study sweep rules` lists them."
)
@click.option("--choose-param", multiple=True, metavar="NAME=VALUE", help="A parameter of the rule; may be repeated.")
@click.option("--also-measure", multiple=True, metavar="RULE", help="A rule to measure besides; may be repeated.")
@click.option("--view", type=click.Choice(["umap"]), help="A second map of the rows for the report.")
@sweep_life.compute_option
@click.option("--force", is_flag=True, help="Run again even if the same sweep is finished.")
def run(
    invocation: Invocation,
    dataset: str | None,
    vectors: Path | None,
    texts: str | None,
    labels: str | None,
    provider: str | None,
    model: str | None,
    dimensions: int | None,
    compute: str | None,
    force: bool,
    **options: Any,
) -> None:
    """Cluster a dataset, or vectors made elsewhere, for every K.

    The same data and options find the finished sweep again; one that was interrupted goes on where it stopped.
    """
    from domain.errors import Rejected

    if (dataset is None) == (vectors is None):
        raise Rejected("Give either a DATASET or --vectors", fields=("dataset", "vectors"))
    if dataset is not None and (texts or labels):
        raise Rejected("--texts and --labels go with --vectors; a dataset brings its own", fields=("texts", "labels"))
    if vectors is not None and (provider or model or dimensions):
        raise Rejected(
            "--vectors are not embedded again, so --provider and --model mean nothing; who embeds the summaries of "
            "k-llmmeans is named with --param embedding=PROVIDER/MODEL",
            fields=("provider",),
        )
    config = config_of(**options)
    with invocation.progress() as progress:

        async def work(study: "Study") -> dict[str, Any]:
            if dataset is not None:
                found = await study.sweeps.of_dataset(
                    dataset,
                    study.context(),
                    config=config,
                    provider=provider,
                    model=model,
                    dimensions=dimensions,
                    force=force,
                    compute=compute or LOCAL,
                    progress=progress,
                )
            else:
                found = await _sweep_vectors(
                    study, vectors, texts, labels, config, force=force, compute=compute or LOCAL, progress=progress
                )
            return await study.sweeps.get(found)

        sweep = invocation.run(work)
    invocation.answer(sweep, lambda console: show_sweep(console, sweep))


async def _sweep_vectors(
    study: "Study",
    vectors: Path | None,
    texts: str | None,
    labels: str | None,
    config: "SweepConfig",
    *,
    force: bool,
    compute: str,
    progress: "Progress",
) -> UUID:
    from infrastructure.table_files import read_vectors

    path = vectors or Path()
    return await study.sweeps.of_vectors(
        read_vectors(path),
        study.context(),
        config=config,
        texts=None if texts is None else column_of(texts, "texts", last=False),
        labels=None if labels is None else column_of(labels, "labels", last=True),
        source_name=path.name,
        force=force,
        compute=compute,
        progress=progress,
    )


def column_of(argument: str, option: str, *, last: bool) -> tuple[str, ...]:
    """FILE or FILE:COLUMN as a list of values. Raises Rejected, NotFound."""
    from domain.errors import Rejected
    from infrastructure.table_files import read_table

    file, colon, column = argument.rpartition(":")
    if not colon or Path(argument).exists():
        file, column = argument, ""
    table = read_table(Path(file))
    names = list(table.columns)
    wanted = column or (names[-1] if last else names[0])
    if wanted not in table.columns:
        raise Rejected(f"{file} has no column {wanted!r}; it has {', '.join(names)}", fields=(option,))
    values = table.columns[wanted]
    return tuple(value or "" for value in values)


def config_of(
    *, param: tuple[str, ...], choose_param: tuple[str, ...], also_measure: tuple[str, ...], **options: Any
) -> "SweepConfig":
    """The options as a sweep's configuration. Raises Rejected."""
    from infrastructure.method_plug_ins import InstalledMethods
    from interfaces.sweep_options import SweepOptions, named_values

    asked = SweepOptions(
        **options,
        parameters=named_values(param, "--param"),
        choose_parameters=named_values(choose_param, "--choose-param"),
        also_measure=also_measure,
    )
    return asked.config(InstalledMethods())


def list_methods(invocation: Invocation) -> None:
    """List the clustering methods: ours, and those of other distributions, each with its parameters."""
    from infrastructure.method_plug_ins import InstalledMethods
    from interfaces.cli.tables import table

    items = InstalledMethods().documents()
    rows = [
        [each["method"], _parameters(each), _here(each), each.get("error") or each["description"]] for each in items
    ]
    invocation.answer(
        {"items": items, "next_cursor": None},
        lambda console: console.print(table(["method", "--param", "here", "what it does"], rows)),
    )


def list_rules(invocation: Invocation) -> None:
    """List the rules by which K is chosen, each with its parameters."""
    from domain.clustering.selection import RULES
    from interfaces.cli.tables import table

    items = [rule.document() for rule in RULES.values()]
    rows = [
        [
            each["rule"],
            _parameters(each),
            "when asked" if each["measured_when_asked"] else "always",
            each["description"],
        ]
        for each in items
    ]
    invocation.answer(
        {"items": items, "next_cursor": None},
        lambda console: console.print(table(["rule", "--choose-param", "measured", "what it chooses"], rows)),
    )


def _parameters(document: dict[str, Any]) -> str:
    """Names and defaults, one a line."""
    fields = document.get("parameters", {}).get("properties", {})
    return "\n".join(f"{name}={_default(field)}" for name, field in fields.items())


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "…" if value is None else str(value)


def _here(document: dict[str, Any]) -> str:
    if document["installed"]:
        return "yes"
    return f"needs [{document['extra']}]" if document.get("extra") else "no"


def rounds_in_words(sweep: dict[str, Any]) -> str:
    """How often centroids were replaced by summaries, and how often that failed."""
    rounds = sweep["rounds"]
    summaries = sum(len(done["summaries"]) for done in rounds)
    fell_back = sum(done["fell_back"] for done in rounds)
    said = f"{len(rounds)} rounds replaced {summaries - fell_back} centroids by what was said of their clusters"
    return f"{said}; {fell_back} stayed means, since their summary failed" if fell_back else said


def show_sweep(console: "Console", sweep: dict[str, Any]) -> None:
    """Print a sweep for people."""
    from interfaces.cli.tables import clusters_table, sparkline, steps_table

    console.print(f"Sweep {sweep['sweep_id']}: {sweep['method']}, {sweep['status']}", highlight=False)
    if sweep.get("reason"):
        console.print(str(sweep["reason"]), markup=False, highlight=False)
    if sweep["steps"]:
        console.print(steps_table(sweep))
        curve = sparkline([step["silhouette"] for step in sweep["steps"]])
        console.print(f"silhouette  {curve}  K = {sweep['steps'][0]['k']} … {sweep['steps'][-1]['k']}", highlight=False)
    if sweep["status"] in ("failed", "cancelled", "interrupted"):
        console.print(f"Next: study sweep resume {sweep['sweep_id']}", highlight=False)
    if sweep["rounds"]:
        console.print(rounds_in_words(sweep), highlight=False)
    if sweep["chosen_k"] is not None:
        console.print(
            f"Chosen: K = {sweep['chosen_k']} by {sweep['chosen_by']}. {sweep['explanation']}", highlight=False
        )
        console.print(clusters_table(sweep))
        console.print(f"Next: study report {sweep['sweep_id']} --out report.html", highlight=False)


@as_of_a_moment
@by_the_page
def list_all(invocation: Invocation, **filters: Any) -> None:
    """List the sweeps, newest first."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.sweeps.list(**filters)

    invocation.answer_page(
        invocation.run(work),
        ["sweep", "data", "method", "status", "K", "started (UTC)"],
        lambda sweep: [
            sweep["sweep_id"],
            sweep["dataset_name"] or "vectors",
            sweep["method"],
            sweep["status"],
            sweep["chosen_k"],
            (sweep["started_at"] or sweep["requested_at"])[:19],
        ],
        nothing="No sweeps.",
    )


@click.argument("sweep_id")
@as_of_a_moment
def show(invocation: Invocation, sweep_id: str, moment: "Moment") -> None:
    """Show one sweep: its steps, the chosen K, the clusters."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.sweeps.get(sweep_id, moment)

    sweep = invocation.run(work)
    invocation.answer(sweep, lambda console: show_sweep(console, sweep))


@click.argument("sweep_id")
@click.option("--out", type=click.Path(path_type=Path), default="report.html", show_default=True, help="File to write.")
@as_of_a_moment
def report(invocation: Invocation, sweep_id: str, out: Path, moment: "Moment") -> None:
    """Write a finished sweep's report: a page that needs nothing but a browser, or Markdown for a name in .md."""
    from interfaces.report.writing import format_of

    format_of(out)

    async def work(study: "Study") -> Path:
        return await study.reports.write(sweep_id, out, moment)

    written = invocation.run(work)
    document = {"sweep_id": sweep_id, "report": str(written)}
    invocation.answer(document, lambda _console: click.echo(f"Wrote {written}"))
