"""Reads the documents: their blocks of code, and what each block is to be checked by."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from interfaces.cli.main import study

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial" / "first-study.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "decisions" not in page.parts)
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])

RUN = ("sh", "python", "sql")  # by tests/test_documentation.py, on the store that the tutorial leaves
READ = ("console", "py", "toml", "json", "yaml", "ini", "csv")  # what can't be run here; it must be well formed
SHOWN = ("text", "http")


class Block(NamedTuple):
    """A fenced block: its language, its text and where it begins."""

    language: str
    text: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text()
    for found in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def lines_to_run(block: Block) -> list[str]:
    """The commands of a shell block; comments are left out, and lines that end in \\ are joined."""
    whole = block.text.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s+)# .*$", "", line) for line in whole) if line.strip()]


def study_commands(block: Block) -> Iterator[list[str]]:
    """The words of each command `study` in a shell block, wherever in its line it stands."""
    for line in lines_to_run(block):
        for found in re.finditer(r"(?:^|[\s(/])study ([a-z][^|>;&]*)", line):
            try:
                yield shlex.split(found[1].replace(")", " "))
            except ValueError:
                continue  # a quotation that holds the word


def refused(words: list[str]) -> str | None:
    """Why the program would not understand a command; values that stand for others (SWEEP_ID) are not looked at."""
    command: click.Command = study
    context = click.Context(study, info_name="study")
    while isinstance(command, click.Group) and words:
        if words[0] not in command.commands:
            return f"there is no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    try:
        command.make_context(command.name, list(words), parent=context.parent)
    except click.BadParameter as error:
        return error.format_message() if isinstance(error, click.MissingParameter) else None
    except click.UsageError as error:
        return error.format_message()
    except click.exceptions.Exit:
        pass
    return None
