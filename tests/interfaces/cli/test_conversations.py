"""`study chat` and `study conversations` as they are used: one message, a pipe, and a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from interfaces.cli import main
from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import MisbehavingServer

PATIENCE_SECONDS = 30
COMMAND = (sys.executable, "-m", "interfaces.cli.main")


@pytest.fixture
def provider(environment: dict[str, str]) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as provider:
        environment["OPENAI_BASE_URL"] = provider.url
        yield provider


def test_personal_data_is_taken_out_of_each_message_of_a_pipe_and_of_the_history(
    study_here: Study, provider: MisbehavingServer, environment: dict[str, str]
) -> None:
    lines = "I am ada@example.org\nand I  bo@example.org\n"
    steps = ("--preprocess", "whitespace,pii", "--template", "{user_input} ({tone})", "--field", "tone=kind")
    done = CliRunner().invoke(main.study, args=("chat", *steps), input=lines, env=environment)
    assert (done.exit_code, done.stdout) == (0, "echo: I am [EMAIL] (kind)\necho: and I [EMAIL] (kind)\n")
    assert not any(b"@example.org" in request.body for request in provider.requests)
    refused = study_here("chat", "one", "--preprocess", "clean")
    assert (refused.code, "'clean' is no step" in refused.err) == (2, True)


def test_one_message_begins_a_conversation_and_the_footer_says_how_to_go_on(
    study_here: Study, provider: MisbehavingServer
) -> None:
    done = study_here("chat", "one", "--system", "Be brief.")
    assert (done.code, done.out) == (0, "echo: one\n")
    (talk,) = [word for word in done.err.split() if done.err.strip().endswith(word) and len(word) == 36]
    again = study_here("chat", "two", "--conversation", talk, "--no-stream", "--json")
    document = again.document
    assert (document["turn"], document["text"], document["conversation_id"]) == (2, "echo: two", talk)
    assert (document["dropped_turns"], document["status"]) == ([], "success")
    shown = study_here("conversations", "show", talk)
    assert "[1] you: one" in shown.out
    assert "[2] model: echo: two" in shown.out
    assert "Be brief." in shown.out
    history = study_here("history", "conversation", talk, "--json").document
    assert [event["event"] for event in history["items"]] == [
        "conversation.started.v1",
        "conversation.turn_taken.v1",
        "conversation.turn_taken.v1",
    ]
    fork = study_here("conversations", "fork", talk, "--at", "1", "--json").document
    assert (fork["parent_id"], fork["at_turn"]) == (talk, 1)
    assert talk in study_here("conversations", "fork", talk).out
    closed = study_here("conversations", "close", talk, "--reason", "done")
    assert (closed.code, "can still be shown" in closed.out) == (0, True)
    refused = study_here("chat", "three", "--conversation", talk, "--json")
    assert (refused.code, refused.document["title"], refused.document["existing_id"]) == (2, "Conflict", talk)
    listed = study_here("conversations", "list")
    assert ("closed" in listed.out, "turn 1 of" in listed.out) == (True, True)
    (only,) = study_here("conversations", "list", "--status", "closed", "--json").document["items"]
    assert (only["conversation_id"], only["turns"], only["title"]) == (talk, 2, "one")
    then = study_here("conversations", "list", "--as-of", "1", "--json").document["items"]
    assert [each["status"] for each in then] == ["open"]


def test_a_pipe_is_answered_line_by_line_and_told_what_was_left_out(
    environment: dict[str, str], provider: MisbehavingServer, own_log: None
) -> None:
    words = ["chat", "--token-budget", "14"]
    done = CliRunner().invoke(main.study, args=words, input="one\n\ntwo\n", env=environment)
    assert (done.exit_code, done.stdout) == (0, "echo: one\necho: two\n")
    assert "turn 1 was not sent" in done.stderr
    assert len(provider.requests) == 2


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        (("chat", "--json"), "one MESSAGE"),
        (("chat", "hi", "--conversation", "x", "--system", "y"), "keeps its system prompt"),
        (("chat",), "stdin is empty"),
    ],
)
def test_what_can_not_be_is_rejected(study_here_without_store: Study, words: tuple[str, ...], detail: str) -> None:
    done = study_here_without_store(*words)
    assert (done.code, detail in done.err) == (2, True)


def test_an_unknown_conversation_is_not_found(study_here: Study) -> None:
    for words in (("chat", "hi", "--conversation", "none"), ("conversations", "show", "none")):
        assert study_here(*words).code == 3


class Terminal:
    """`study chat` on a terminal of its own."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.screen, its_end = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, "chat", "--provider", "openai", "--model", "tiny"],
            cwd=folder,
            env={**environment, "TERM": "dumb", "NO_COLOR": "1"},
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self.screen, text.encode())

    def until(self, text: str) -> str:
        """What is shown up to a text that is waited for."""
        while text not in self.shown:
            assert select.select([self.screen], [], [], PATIENCE_SECONDS)[0], self.shown
            piece = os.read(self.screen, 1000)
            self.shown += piece.decode(errors="replace")
        before, _, self.shown = self.shown.partition(text)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


@pytest.fixture
def terminal(environment: dict[str, str], provider: MisbehavingServer, tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(environment, tmp_path)
    yield terminal
    terminal.close()


def test_at_a_terminal_one_talks_cancels_forks_looks_back_and_leaves(
    terminal: Terminal, provider: MisbehavingServer, study_here: Study
) -> None:
    terminal.until("› ")
    terminal.type("one\n")
    terminal.until("echo: one")
    terminal.until("› ")
    provider.behave("stalled_stream")
    terminal.type("Three primes, please?\n")
    terminal.until("echo: Three")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("no turn was taken")
    terminal.until("› ")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("Ctrl-D ends")
    terminal.type("/help\n")
    terminal.until("/history")
    terminal.until("› ")
    terminal.type("/fork\n")
    terminal.until("forked after turn 1")
    terminal.until("› ")
    terminal.type("/nonsense\n")
    terminal.until("no command /nonsense")
    terminal.until("› ")
    terminal.type("/fork 7\n")
    terminal.until("has 1 turn")
    terminal.until("› ")
    terminal.type("two\n")
    terminal.until("echo: two")
    terminal.until("› ")
    terminal.type("/history\n")
    terminal.until("[2] model: echo: two")
    terminal.until("› ")
    terminal.type("/close\n")
    terminal.until("closed")
    assert terminal.process.wait(20) == 0
    items: list[dict[str, Any]] = study_here("conversations", "list", "--json").document["items"]
    assert [(each["status"], each["turns"]) for each in items] == [("closed", 2), ("open", 1)]


def test_ctrl_d_ends_and_leaves_the_conversation_open(terminal: Terminal) -> None:
    terminal.until("› ")
    terminal.type("\x04")
    terminal.until("go on: study chat --conversation")
    assert terminal.process.wait(20) == 0


def test_a_terminal_that_is_told_to_stop_stops_while_it_waits_for_a_line(terminal: Terminal) -> None:
    terminal.until("› ")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.process.wait(20) == 128 + signal.SIGTERM
