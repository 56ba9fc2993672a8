"""Going on with sweeps that were left, and ending those under way."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from interfaces.study import Study

SWEEP_ID = "1fc6734e-01a1-5f71-820e-31f1e0df585a"

compute_option = click.option(
    "--compute",
    metavar="local|tcp://HOST:PORT",
    help="Where steps are computed: in this process, or on the Dask cluster of a scheduler.",
)


def add_to(sweep: click.Group) -> None:
    """Add the commands."""
    study_command(
        sweep,
        "resume",
        examples=f"study sweep resume {SWEEP_ID}\nstudy sweep resume {SWEEP_ID} --compute tcp://127.0.0.1:8786",
    )(resume)
    study_command(sweep, "cancel", examples=f"study sweep cancel {SWEEP_ID}")(cancel)


@click.argument("sweep_id")
@compute_option
def resume(invocation: Invocation, sweep_id: str, compute: str | None) -> None:
    """Go on with a sweep that was left, from its last finished step.

    Vectors, texts and options come from the record. A finished sweep is shown as it is.
    """
    from interfaces.cli.sweeps import show_sweep

    with invocation.progress() as progress:

        async def work(study: "Study") -> dict[str, Any]:
            found = await study.sweeps.resume(sweep_id, study.context(), compute=compute, progress=progress)
            return await study.sweeps.get(found)

        sweep = invocation.run(work)
    invocation.answer(sweep, lambda console: show_sweep(console, sweep))


@click.argument("sweep_id")
def cancel(invocation: Invocation, sweep_id: str) -> None:
    """End a sweep, whichever process runs it.

    That finds it within a second or two. Finished steps stay, and `study sweep resume` goes on from them.
    """

    async def work(study: "Study") -> dict[str, Any]:
        return await study.sweeps.cancel(sweep_id, study.context())

    cancelled = invocation.run(work)
    invocation.answer(
        cancelled,
        lambda console: console.print(
            f"Cancelled. Go on with it by: study sweep resume {cancelled['sweep_id']}", highlight=False
        ),
    )
