"""The command `study` as a user runs it: a process of its own, on a database of the test's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Database

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
def study(database: Database, tmp_path: Path) -> Study:
    """Run `study` with some words; further settings go into its environment."""

    def run(*words: str, **settings: str) -> Ran:
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database.application_uri,
            "STUDY_HOME": str(tmp_path / "home"),
            "STUDY_IN_DOUBT_AFTER_S": "0.5",
            **settings,
        }
        done = subprocess.run(
            [sys.executable, "-m", "interfaces.cli.main", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
