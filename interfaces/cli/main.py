"""The command `study`."""

import sys

import click

from interfaces.cli import asking, datasets, quickstart, sweeps, upkeep
from interfaces.cli.command import refusing_in_words


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="study-query-llm", prog_name="study")
def study() -> None:
    """The lab notebook for research with language models.

    Every call to a model is recorded before and after it is made; every number can be followed back to the bytes it
    came from. Begin with `study quickstart`: it needs no key and no server.
    """


for part in (quickstart, asking, datasets, sweeps, upkeep):
    part.add_to(study)


def main() -> None:
    """The entry point: exits with the code of what happened."""
    with refusing_in_words(as_json="--json" in sys.argv[1:]):
        sys.exit(study.main(prog_name="study", standalone_mode=False))


if __name__ == "__main__":
    main()
