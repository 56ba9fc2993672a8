"""Text of models and providers on its way to a terminal, which would obey the commands hidden in it."""

import re
import sys

import click

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and new line


def visible(text: str) -> str:
    """Control characters as people write them, such as \\x1b; each stands for itself, so that pieces may be shown."""
    return CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def for_stdout(text: str) -> str:
    """Text as it is for a pipe or a file, and safe for a terminal."""
    return visible(text) if sys.stdout.isatty() else text


def echo_text(text: str, *, nl: bool = True) -> None:
    """Print what others wrote, at once. To a pipe, click would not pass all of it on."""
    click.echo(for_stdout(text), nl=nl, color=True)
