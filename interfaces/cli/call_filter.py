"""Which calls a command is about: the options that lists, sums and exports of calls have in common, and searches."""

from collections.abc import Callable
from typing import Any

import click

from interfaces.cli.command import moment

Command = Callable[..., Any]

FILTERS = (
    click.option("--provider", help="Only this provider's."),
    click.option("--model", help="Only this model's."),
    click.option("--modality", type=click.Choice(["text", "embedding", "image", "audio"]), help="Only this kind."),
    click.option(
        "--status", type=click.Choice(["requested", "success", "failed", "cancelled", "in_doubt"]), help="Only these."
    ),
    click.option("--group", metavar="TYPE/NAME", help="Only the members of a group."),
    click.option("--actor", metavar="NAME", help="Only what they asked."),
    click.option("--since", callback=moment, metavar="WHEN", help="Not before this time (UTC unless it says)."),
    click.option("--until", callback=moment, metavar="WHEN", help="Before this time."),
)
SEARCH = (
    click.option(
        "--search",
        metavar="WORDS",
        help='Only those with these words in the prompt or the answer: all of them, "in a row", one OR other, '
        "-without, beginning*.",
    ),
    click.option(
        "--match",
        type=click.Choice(["words", "substring"]),
        help="By words, or letter by letter, also inside words: where the server has pg_trgm.",
    ),
    click.option("--in", "part", type=click.Choice(["prompt", "answer"]), help="Search only there."),
)


def filtered(command: Command) -> Command:
    """Give a command the filters of calls."""
    return with_options(FILTERS, command)


def searched(command: Command) -> Command:
    """Give a command what says which texts of calls to look for."""
    return with_options(SEARCH, command)


def with_options(options: tuple[Command, ...], command: Command) -> Command:
    """A command with these options, shown in this order."""
    for option in reversed(options):
        command = option(command)
    return command
