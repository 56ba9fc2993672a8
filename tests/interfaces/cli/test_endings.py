"""However a command ends, it ends with its code and in words."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import MisbehavingServer

COMMAND = (sys.executable, "-m", "interfaces.cli.main")


@pytest.mark.parametrize(
    ("words", "says", "fields"),
    [
        (("ask", "--nonsense"), "--nonsense", None),
        (("nonsense",), "nonsense", None),
        (("sweep", "run", "x", "--method", "guess"), "k-subspaces", ["method"]),
        (("calls", "--limit", "many"), "many", ["limit"]),
        (("call",), "CALL_ID", ["call_id"]),
    ],
)
def test_wrong_usage_is_one_json_document_too(
    study_without_store: Study, words: tuple[str, ...], says: str, fields: list[str] | None
) -> None:
    done = study_without_store(*words, "--json")
    assert done.code == 2
    assert says in done.document["detail"]
    assert done.document.get("fields") == fields
    assert "Usage: study" in done.err


def test_a_command_that_is_interrupted_says_so_and_its_call_is_recorded(
    study_here: Study, environment: dict[str, str], tmp_path: Path
) -> None:
    with MisbehavingServer() as server:
        server.behave_always("hang")
        asking = subprocess.Popen(
            [*COMMAND, "ask", "hello?", "--json"],
            cwd=tmp_path,
            env={**environment, "OPENAI_BASE_URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 30
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=30)
    assert (asking.returncode, out) == (130, "")
    assert err.startswith("Stopped.")
    assert "Traceback" not in err
    (call,) = study_here("calls", "--json").document["items"]
    assert call["status"] == "cancelled"


def test_a_reader_that_leaves_is_no_error_of_ours(environment: dict[str, str], tmp_path: Path) -> None:
    reading = subprocess.Popen(
        [*COMMAND, "projections", "status", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reading.stdout is not None
    assert reading.stderr is not None
    reading.stdout.close()
    assert reading.stderr.read() == ""
    reading.stderr.close()
    assert reading.wait(30) == 1
