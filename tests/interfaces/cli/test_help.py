"""Every command explains itself, takes the four shared options, and nothing heavy is loaded for it."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from interfaces.cli.main import study
from tests.interfaces.cli.conftest import ROOT


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(study)), ids=" ".join)
def test_each_command_explains_itself(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(study, [*path, "--help"])
    assert shown.exit_code == 0
    for option in ("--json", "--database-url", "--home", "--log-level"):
        assert option in shown.output


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, interfaces.cli.main; "
        "print([name for name in ('numpy', 'pyarrow', 'litestar', 'bokeh', 'openai') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_told_from_a_checkout_too() -> None:
    shown = CliRunner().invoke(study, ["--version"])
    assert (shown.exit_code, shown.output.startswith("study, ")) == (0, True)
