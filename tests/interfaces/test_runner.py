"""Given a server that has ended, then the process that runs its sweeps ends too, and says nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("metrics", ["there", "gone with the server"])
def test_a_runner_whose_server_ended_while_it_began_says_nothing(
    database: Database, tmp_path: Path, metrics: str
) -> None:
    (tmp_path / "there").mkdir()
    order = {"flags": {"database_url": database.application_uri, "study_home": str(tmp_path)}, "idle_seconds": None}
    ended = subprocess.run(
        [sys.executable, "-m", "interfaces.runner"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / metrics)},
        input=json.dumps(order) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
