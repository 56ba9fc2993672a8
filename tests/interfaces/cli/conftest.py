"""The command `study` as a user runs it: a process of its own, on a database of the test's own."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog
from click.testing import CliRunner

from interfaces.cli import main
from interfaces.logs import CHATTY
from tests.conftest import Database, fresh_database

ROOT = Path(__file__).parents[3]


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Study = Callable[..., Ran]


@pytest.fixture
def database(server: tuple[str, str], opened_template: str) -> Iterator[Database]:
    """A database of a test's own that has been opened before."""
    with fresh_database(server, opened_template) as database:
        yield database


@pytest.fixture
def storeless(tmp_path: Path) -> dict[str, str]:
    """What a process of `study` is told from outside, with a store that is not there."""
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": "postgresql://nobody:secret-password@127.0.0.1:1/none",
        "STUDY_HOME": str(tmp_path / "home"),
        "STUDY_IN_DOUBT_AFTER_S": "0.5",
    }


@pytest.fixture
def environment(storeless: dict[str, str], database: Database) -> dict[str, str]:
    """The same with a store, empty and of the test's own."""
    return {**storeless, "DATABASE_URL": database.application_uri}


@pytest.fixture
def study(environment: dict[str, str], tmp_path: Path) -> Study:
    """Run `study` with some words, in a process; further settings go into its environment."""
    return in_a_process(environment, tmp_path)


@pytest.fixture
def study_without_store(storeless: dict[str, str], tmp_path: Path) -> Study:
    """The same for what must end before the store is looked for."""
    return in_a_process(storeless, tmp_path)


def in_a_process(environment: dict[str, str], folder: Path) -> Study:
    def run(*words: str, **settings: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", *words],
            cwd=folder,
            env={**environment, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def study_here(environment: dict[str, str], own_log: None) -> Study:
    """Run `study` within the process of the tests, which is faster."""
    return in_this_process(environment)


@pytest.fixture
def study_here_without_store(storeless: dict[str, str], own_log: None) -> Study:
    """The same for what must end before the store is looked for."""
    return in_this_process(storeless)


def in_this_process(environment: dict[str, str]) -> Study:
    def run(*words: str, **settings: str) -> Ran:
        done = CliRunner().invoke(main.study, args=words, env={**environment, **settings})
        return Ran(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def own_log() -> Iterator[None]:
    """Commands set the log up; what the tests had is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in CHATTY}
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, chatty_level in levels.items():
        logging.getLogger(name).setLevel(chatty_level)
    structlog.reset_defaults()
