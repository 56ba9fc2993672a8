"""The command `study`."""

import sys

import click

from interfaces.cli import (
    analytics,
    artifacts,
    asking,
    calls,
    comparing,
    conversations,
    datasets,
    events,
    exports,
    groups,
    legacy,
    provenance,
    providers,
    quickstart,
    summaries,
    sweeps,
    tokens,
    upkeep,
    vectors,
)
from interfaces.cli.command import refusing_in_words


def show_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version and end; a checkout that is not installed has none."""
    from importlib.metadata import PackageNotFoundError, version

    if not wanted or context.resilient_parsing:
        return
    try:
        click.echo(f"study, version {version('study-query-llm')}")
    except PackageNotFoundError:
        click.echo("study, not installed: run from a checkout")
    context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
def study() -> None:
    """The lab notebook for research with language models.

    Every call to a model is recorded before and after it is made; every number can be followed back to the bytes it
    came from. Begin with `study quickstart`: it needs no key and no server.
    """


for part in (
    quickstart,
    asking,
    calls,
    providers,
    datasets,
    sweeps,
    comparing,
    provenance,
    events,
    exports,
    upkeep,
    conversations,
    groups,
    artifacts,
    vectors,
    legacy,
    tokens,
    summaries,
    analytics,
):
    part.add_to(study)


def main() -> None:
    """The entry point: exits with the code of what happened."""
    with refusing_in_words(as_json="--json" in sys.argv[1:]):
        sys.exit(study.main(prog_name="study", standalone_mode=False))


if __name__ == "__main__":
    main()
