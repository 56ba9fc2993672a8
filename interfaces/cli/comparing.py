"""Two sweeps side by side."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, study_command

if TYPE_CHECKING:
    from rich.console import Console

    from interfaces.as_of import Moment
    from interfaces.study import Study

Json = dict[str, Any]
SHOWN = ("silhouette", "stability_ari_mean", "objective")


def add_to(study: click.Group) -> None:
    """Add the command to those of sweeps, which must be there."""
    sweep = study.commands["sweep"]
    if isinstance(sweep, click.Group):
        study_command(sweep, "compare", examples="study sweep compare SWEEP_ID OTHER_ID")(compare)


@click.argument("first")
@click.argument("second")
@as_of_a_moment
def compare(invocation: Invocation, first: str, second: str, moment: "Moment") -> None:
    """Show what differed between two sweeps: configuration, data, software, time, results, labels."""

    async def work(study: "Study") -> Json:
        return await study.sweeps.compare(first, second, moment)

    found = invocation.run(work)
    invocation.answer(found, lambda console: _show(console, found))


def _show(console: "Console", found: Json) -> None:
    from interfaces.cli.tables import table

    rows = [
        [each["about"], each["field"], _value(each["first"]), _value(each["second"])] for each in found["differences"]
    ]
    if rows:
        console.print(table(["about", "field", found["first"]["sweep_id"], found["second"]["sweep_id"]], rows))
    else:
        console.print("Nothing differed.")
    console.print(f"The rest is equal: {len(found['equal'])} fields, which --json names.", highlight=False)
    steps = [
        [step["k"], step["ari"], *(_pair(step["differ"].get(name)) for name in SHOWN)]
        for step in found["steps"]
        if not step["same_labels"]
    ]
    same = [str(step["k"]) for step in found["steps"] if step["same_labels"]]
    if same:
        console.print(f"The same labels for K = {', '.join(same)}", highlight=False)
    if steps:
        console.print(table(["K", "labels' ARI", "silhouette", "stability", "objective"], steps))
    if found["chosen_ari"] is not None:
        console.print(f"Of the two chosen K, labels agree with an ARI of {found['chosen_ari']:.3f}", highlight=False)
    if not found["same_rows"]:
        console.print("They don't label the same rows, so that labels can't be compared.")


def _value(value: Any) -> Any:
    from interfaces.cli.tables import short

    return value if isinstance(value, int | float | None) else short(str(value), 40)


def _pair(differ: Json | None) -> str:
    return "=" if differ is None else " / ".join("–" if value is None else f"{value:.4g}" for value in differ.values())
