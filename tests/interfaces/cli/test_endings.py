"""However a command ends, it ends with its code and in words."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.interfaces.cli.conftest import Study
from tests.support.cut_line import CutLine
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
    assert ("Usage: study" in done.err) == (fields != ["method"])  # which plug-ins bring, so that it is looked up


@contextmanager
def asking(
    server: MisbehavingServer, environment: dict[str, str], folder: Path, *words: str, calls: int
) -> "Iterator[subprocess.Popen[str]]":
    """`study ask` whose calls hang at the provider."""
    server.behave_always("hang")
    process = subprocess.Popen(
        [*COMMAND, "ask", *words, "--json"],
        cwd=folder,
        env={**environment, "OPENAI_BASE_URL": server.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(server.requests) < calls and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(server.requests) == calls
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("calls", [1, 3])
def test_a_command_that_is_stopped_says_so_and_its_calls_are_recorded(
    study_here: Study, environment: dict[str, str], tmp_path: Path, number: signal.Signals, calls: int
) -> None:
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"prompt": "hello {n}?"}}\n' for n in range(calls)))
    words = ("hello?",) if calls == 1 else ("--file", "prompts.jsonl")
    with MisbehavingServer() as server, asking(server, environment, tmp_path, *words, calls=calls) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + number, "")
    assert err.startswith("Stopped.")
    assert "Traceback" not in err
    found = study_here("calls", "--json").document["items"]
    assert [call["status"] for call in found] == ["cancelled"] * calls
    history = study_here("history", "call", found[0]["call_id"], "--json").document["items"]
    assert history[-1]["facts"]["reason"] == f"{number.name} stopped the process"


def test_a_second_signal_ends_a_command_at_once(
    study_here: Study, environment: dict[str, str], database: Database, tmp_path: Path
) -> None:
    with (
        MisbehavingServer() as server,
        CutLine(database.application_uri) as line,
        asking(server, {**environment, "DATABASE_URL": line.uri}, tmp_path, "hello?", calls=1) as process,
    ):
        line.swallow_answers()  # so that recording the end would take long
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 128 + signal.SIGTERM


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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device here that is always full")
def test_an_output_without_room_is_told_in_words(environment: dict[str, str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "projections", "status", "--json"],
            check=False,
            cwd=tmp_path,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: there is no room left")
    assert "Traceback" not in ended.stderr
