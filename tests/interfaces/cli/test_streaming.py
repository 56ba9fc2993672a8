"""`study ask --stream` as it is seen through a pipe and on a terminal, and what it leaves behind however it ends."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from interfaces.cli.terminal import visible
from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

COMMAND = (sys.executable, "-m", "interfaces.cli.main")
ECHO = "echo: Three primes, please?"


@pytest.fixture
def provider(environment: dict[str, str]) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as provider:
        environment["OPENAI_BASE_URL"] = provider.url
        yield provider


def asking(environment: dict[str, str], folder: Path, *words: str, stdout: int = subprocess.PIPE) -> "Asking":
    return Asking(
        [*COMMAND, "ask", "Three primes, please?", "--stream", *words],
        cwd=folder,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )


class Asking(subprocess.Popen[bytes]):
    """The command in a process of its own, read while it runs."""

    def seen(self, text: str) -> None:
        """Wait until its output holds a text."""
        pipe: IO[bytes] | None = self.stdout
        assert pipe is not None
        found = b""
        while text.encode() not in found:
            piece = os.read(pipe.fileno(), 1000)
            assert piece, (found, self.stderr and self.stderr.read())
            found += piece


def the_call(study_here: Study) -> dict[str, object]:
    (call,) = study_here("calls", "--json").document["items"]
    found: dict[str, object] = study_here("call", call["call_id"], "--json").document
    return found


def test_words_are_printed_as_they_come_and_the_line_is_ended(
    environment: dict[str, str], study_here: Study, provider: MisbehavingServer, tmp_path: Path
) -> None:
    provider.behave(Behaviour("slow_stream", delay_seconds=0.5))
    with asking(environment, tmp_path) as process:
        process.seen("echo:")
        assert process.poll() is None
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, b" Three primes, please?\n")
    assert b"the first after" in err
    call = the_call(study_here)
    assert (call["status"], call["text"]) == ("success", ECHO)
    assert str(call["tokens_per_second"])[:3] in study_here("call", str(call["call_id"])).out


def test_json_is_one_document_at_the_end(study_here: Study, provider: MisbehavingServer) -> None:
    done = study_here("ask", "Three primes, please?", "--stream", "--json")
    assert (done.code, done.document["text"]) == (0, ECHO)
    assert done.document["first_token_ms"] > 0
    assert len(provider.requests) == 1


@pytest.mark.parametrize("words", [("-n", "2"), ("--file", "prompts.jsonl")])
def test_only_one_answer_is_streamed(study_here: Study, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "hi"}\n')
    asked = ("ask", "--file", str(tmp_path / "prompts.jsonl")) if words[0] == "--file" else ("ask", "hi", *words)
    done = study_here(*asked, "--stream", "--provider", "local", "--json")
    assert (done.code, done.document["title"]) == (2, "Rejected")


def test_a_stream_that_breaks_leaves_its_line_ended_and_what_came_on_record(
    study_here: Study, provider: MisbehavingServer
) -> None:
    provider.behave("reset_stream")
    done = study_here("ask", "Three primes, please?", "--stream")
    assert (done.code, done.out) == (1, "echo: Three\n")
    assert "failed after 1 attempt:" in done.err
    call = the_call(study_here)
    assert (call["status"], call["partial_text"]) == ("failed", "echo: Three")
    shown = study_here("call", str(call["call_id"])).out
    assert "partial text:\necho: Three" in shown


def test_ctrl_c_in_the_middle_keeps_what_came(
    environment: dict[str, str], study_here: Study, provider: MisbehavingServer, tmp_path: Path
) -> None:
    provider.behave("stalled_stream")
    with asking(environment, tmp_path) as process:
        process.seen("Three")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"\n")
    assert err.startswith(b"Stopped.")
    call = the_call(study_here)
    assert (call["status"], call["partial_text"]) == ("cancelled", "echo: Three")


def test_a_reader_that_leaves_cancels_the_call(
    environment: dict[str, str], study_here: Study, provider: MisbehavingServer, tmp_path: Path
) -> None:
    provider.behave(Behaviour("slow_stream", delay_seconds=0.3))
    with asking(environment, tmp_path) as process:
        process.seen("echo:")
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(30) == 1
    call = the_call(study_here)
    assert call["status"] == "cancelled"
    assert str(call["partial_text"]).startswith("echo: Three")


def test_a_process_killed_in_the_middle_leaves_a_call_in_doubt(
    environment: dict[str, str], study_here: Study, provider: MisbehavingServer, tmp_path: Path
) -> None:
    provider.behave("stalled_stream")
    with asking(environment, tmp_path) as process:
        process.seen("Three")
        process.kill()
    deadline = time.monotonic() + 30
    while (call := the_call(study_here))["status"] == "requested":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert (call["status"], call["partial_text"]) == ("in_doubt", None)


@pytest.mark.parametrize("stream", [True, False])
def test_a_terminal_is_shown_what_hides_in_a_text_and_a_pipe_is_given_it(
    environment: dict[str, str], provider: MisbehavingServer, tmp_path: Path, stream: bool
) -> None:
    asked = [*COMMAND, "ask", "red \x1b[31m bell \x07 csi \x9b2J tab \t.", *(["--stream"] if stream else [])]
    piped = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, check=True, timeout=60)
    assert piped.stdout.decode() == "echo: red \x1b[31m bell \x07 csi \x9b2J tab \t.\n"
    terminal, its_end = pty.openpty()
    with subprocess.Popen(asked, cwd=tmp_path, env=environment, stdout=its_end, stderr=subprocess.DEVNULL):
        os.close(its_end)
        shown = b""
        while piece := _read(terminal):
            shown += piece
    os.close(terminal)
    assert shown.decode().expandtabs().replace("\r\n", "\n") == (
        "echo: red \\x1b[31m bell \\x07 csi \\x9b2J tab \t.\n".expandtabs()
    )
    assert len(provider.requests) == 2


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # how Linux tells that the other end is closed
        return b""


def test_only_tabs_and_new_lines_control_a_terminal() -> None:
    every = "".join(map(chr, range(0x100)))
    kept = [character for character in visible(every) if not character.isprintable()]
    assert kept == ["\t", "\n", "\xa0", "\xad"]
