"""docs/reference/cli.md: every command with its options, as `--help` tells of them."""

import inspect
from collections.abc import Iterator
from typing import cast

import click

from interfaces.cli.main import study

INTRODUCTION = """# Command line

Every command takes the options of this table, and explains itself with `--help`. JSON documents have the shapes of the
HTTP answers; lists are `{items, next_cursor}`. Exit codes: 0 done, 1 failed, 2 rejected input or conflict, 3 not found,
4 store unavailable. This page is generated from the program."""


def commands_page() -> str:
    """Every command, in alphabetical order."""
    commands = list(_commands(study, "study"))
    every = set.intersection(*({_written(option) for option in _options(command)} for _, command in commands))
    shared = [option for option in _options(commands[0][1]) if _written(option) in every]
    lines = [INTRODUCTION, "", *_table(shared)]
    for name, command in commands:
        context = click.Context(command, info_name=name)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += ["", f"## {name}", "", *_told(command.help), "", "```text", f"{name} {usage}".strip(), "```"]
        own = [option for option in _options(command) if _written(option) not in every]
        lines += ["", *_table(own)] if own else []
        lines += ["", *_told(command.epilog)] if command.epilog else []
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    for word, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield f"{name} {word}", command
            yield from _commands(command, f"{name} {word}")
        elif not command.hidden:
            yield f"{name} {word}", command


def _options(command: click.Command) -> list[click.Option]:
    return [option for option in command.params if isinstance(option, click.Option) and not option.hidden]


def _written(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag or option.count:
        return f"`{names}`"
    if isinstance(option.type, click.Choice):
        return f"`{names} {'|'.join(str(choice) for choice in option.type.choices)}`".replace("|", "\\|")
    return f"`{names} {option.make_metavar(click.Context(study))}`".replace("|", "\\|")


def _table(options: list[click.Option]) -> list[str]:
    rows = [f"| {_written(option)} | {_meaning(option)} |" for option in options]
    return ["| option | what it says |", "|---|---|", *rows]


def _meaning(option: click.Option) -> str:
    text = " ".join((option.help or "").split())
    shown = cast(dict[str, object], option.get_help_extra(click.Context(study))).get("default")
    more = " Required." if option.required else f" Default: {shown}." if shown else ""
    more += " May be repeated." if option.multiple else ""
    return _plain(text + more)


def _told(text: str | None) -> list[str]:
    """Paragraphs; those that click must not wrap are blocks of their own."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            heading, *rest = paragraph.replace("\b", "").strip("\n").splitlines()
            lines += ["", _plain(heading), "", "```text", *(line.strip() for line in rest), "```"]
        else:
            lines += ["", _plain(" ".join(paragraph.split()))]
    return lines[1:]


def _plain(text: str) -> str:
    """As markdown that shows it as it is."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")
