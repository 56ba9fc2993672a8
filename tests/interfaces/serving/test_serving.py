"""The server as a process: where it binds, what it says, how it ends."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import psycopg
import pytest
from click.testing import CliRunner

from infrastructure.settings import read_settings
from interfaces.serving import process as serving_process
from interfaces.serving.__main__ import main
from interfaces.serving.process import Address
from tests.conftest import Database
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "interfaces.serving", *arguments]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@contextmanager
def process(*arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A server process, its address, and what it has said so far on stderr."""
    with subprocess.Popen(
        command("--port", "0", *arguments), env=environment(**variables), stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        lines: list[str] = []
        address = ""
        for line in server.stderr:
            lines.append(line)
            found = re.search(r"running on (http://[\w.:]+)", line)
            if found:
                address = found.group(1)
                break
        assert address, "".join(lines)
        reader = threading.Thread(target=lines.extend, args=(server.stderr,))
        reader.start()
        try:
            yield server, address, lines
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()
            reader.join()


def test_a_terminated_server_finishes_what_it_began_and_ends_well(database: Database, tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    with MisbehavingServer() as provider:
        provider.behave(Behaviour("slow", delay_seconds=1.0))
        openai = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-x"}
        with process(*home, DATABASE_URL=database.application_uri, **openai) as (server, address, lines):
            answers: list[httpx.Response] = []
            question = {"prompt": "hello", "provider": "openai", "model": "tiny"}
            client = threading.Thread(
                target=lambda: answers.append(httpx.post(f"{address}/api/calls", json=question, timeout=30))
            )
            client.start()
            deadline = time.monotonic() + 20
            while not provider.requests:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            server.send_signal(signal.SIGTERM)
            client.join()
            assert server.wait(timeout=30) == 0
    assert answers[0].status_code == 201, answers[0].text
    assert answers[0].json()["text"] == "echo: hello"
    requests = [entry for line in lines if (entry := json.loads(line))["event"] == "request"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in requests] == [("POST", "/api/calls", 201)]
    assert requests[0]["request_id"] == answers[0].headers["x-request-id"]
    assert requests[0]["duration_ms"] > 900


@pytest.mark.parametrize("signals", [1, 2])
def test_a_server_drains_for_so_long_and_records_what_is_left_as_cancelled(
    database: Database, tmp_path: Path, signals: int
) -> None:
    drain = "1" if signals == 1 else "60"
    with MisbehavingServer() as provider:
        provider.behave_always("hang")
        variables = {"DATABASE_URL": database.application_uri, "OPENAI_BASE_URL": provider.url, "STUDY_DRAIN_S": drain}
        with process("--home", str(tmp_path), **variables) as (server, address, lines):

            def ask(prompt: str) -> None:
                question = {"prompt": prompt, "provider": "openai", "model": "tiny"}
                with suppress(httpx.TransportError):
                    httpx.post(f"{address}/api/calls", json=question, timeout=60)

            clients = [threading.Thread(target=ask, args=(prompt,)) for prompt in ("one", "two", "three")]
            for client in clients:
                client.start()
            deadline = time.monotonic() + 30
            while len(provider.requests) < len(clients):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            for _ in range(signals):
                server.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            ended = server.wait(timeout=30)
            for client in clients:
                client.join()
    with psycopg.connect(database.owner_uri) as owner:
        found = owner.execute("SELECT state FROM events.events WHERE topic = 'call.cancelled.v1'").fetchall()
    cancelled = [b"SIGTERM stopped the process" in state for (state,) in found]
    assert (ended, cancelled) == ((0, [True] * 3) if signals == 1 else (128 + signal.SIGTERM, [])), "".join(lines)


def test_a_signal_while_a_server_opens_undoes_what_it_had_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    undone: list[bool] = []

    @asynccontextmanager
    async def opening(*_: object, **__: object) -> AsyncIterator[None]:
        try:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(60)
            yield
        finally:
            undone.append(True)

    monkeypatch.setattr(serving_process, "open_study", opening)
    serving_process.run(read_settings(), Address(host="127.0.0.1", port=0, dashboard=False))
    assert undone == [True]


def test_several_workers_serve_one_store(database: Database, tmp_path: Path) -> None:
    with process("--workers", "2", "--home", str(tmp_path), "--database-url", database.application_uri) as (
        server,
        address,
        _,
    ):
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.post(f"{address}/api/calls", json={"prompt": "hello", "provider": "local"}, timeout=10)
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert answer.status_code == 201
        for _ in range(8):
            shown = httpx.get(
                f"{address}/api/calls/{answer.json()['call_id']}", params={"at_least": answer.json()["position"]}
            )
            assert shown.status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


def children(parent: int) -> list[int]:
    """The workers of a server: what it spawned, but for the process that multiprocessing keeps for itself."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status, words = (folder / "status").read_text(), (folder / "cmdline").read_bytes()
            if f"PPid:\t{parent}\n" in status and b"spawn_main" in words:
                found.append(int(folder.name))
    return found


def test_a_worker_that_is_killed_is_started_again(database: Database, tmp_path: Path) -> None:
    home = ("--workers", "2", "--home", str(tmp_path), "--database-url", database.application_uri)
    with process(*home) as (server, address, lines):
        assert httpx.get(f"{address}/health/live", timeout=30).status_code == 200
        before = children(server.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len(children(server.pid)) < 2 or before[0] in children(server.pid):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert httpx.get(f"{address}/health/live", timeout=30).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
        assert children(server.pid) == []
    assert any("died and is started again" in line for line in lines)


def test_workers_end_with_a_parent_that_is_killed(database: Database, tmp_path: Path) -> None:
    home = ("--workers", "2", "--home", str(tmp_path), "--database-url", database.application_uri)
    with process(*home) as (server, address, _):
        assert httpx.get(f"{address}/health/live", timeout=30).status_code == 200
        workers = children(server.pid)
        server.kill()
        deadline = time.monotonic() + 30
        while any((Path("/proc") / str(worker)).exists() for worker in workers):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_addresses_that_others_can_reach_are_known() -> None:
    for host in ("0.0.0.0", "::", "", "10.1.2.3", "192.168.0.1", "8.8.8.8"):
        assert Address(host=host, port=0).outside(), host
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        assert not Address(host=host, port=0).outside(), host


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nobody_is_served_beyond_this_machine_without_a_token(database: Database, tmp_path: Path, workers: str) -> None:
    ended = subprocess.run(
        command("--host", "0.0.0.0", "--port", "0", "--workers", workers, "--home", str(tmp_path)),
        env=environment(DATABASE_URL=database.application_uri),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert "study token issue" in ended.stderr
    assert "STUDY_TOKEN" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "no.such.host.invalid"), "no address"),
        (("--database-url", "mysql://x"), "DATABASE_URL"),
        (("--port", "eighty"), "--port"),
        (("--workers", "0"), "--workers"),
    ],
)
def test_a_wrong_option_is_refused_in_its_own_words(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["--home", str(tmp_path), *arguments])
    assert ended.exit_code == 2, ended.output
    assert told in ended.output


def test_a_token_that_is_easily_guessed_is_refused(tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["--home", str(tmp_path)], env={"STUDY_TOKEN": "secret"})
    assert ended.exit_code == 2, ended.output
    assert "STUDY_TOKEN" in ended.output
    assert "16" in ended.output


def test_the_panels_settings_are_the_servers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANEL_ADDRESS", "no.such.host.invalid")
    ended = CliRunner().invoke(main, [])
    assert ended.exit_code == 2, ended.output
    assert "no.such.host.invalid" in ended.output


def test_a_server_says_where_browsers_find_it(database: Database, tmp_path: Path) -> None:
    with process("--home", str(tmp_path), DATABASE_URL=database.application_uri) as (server, address, lines):
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    told = next(entry for line in lines if (entry := json.loads(line))["event"].startswith("ready"))
    assert (told["dashboard"], told["documentation"]) == (f"{address}/dashboard/", f"{address}/api/docs")


def test_the_panels_settings_are_read_from_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PANEL_ADDRESS=no.such.host.invalid\n")
    assert "no.such.host.invalid" in CliRunner().invoke(main, []).output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_told_before_the_store_is_opened(workers: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        ended = CliRunner().invoke(main, ["--home", str(tmp_path), "--port", taken, "--workers", workers])
    assert (ended.exit_code, f"127.0.0.1:{taken} is taken" in ended.output, "--port" in ended.output) == (2, True, True)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_without_its_store_says_why_and_ends_with_4(workers: str, tmp_path: Path) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    ended = subprocess.run(
        command("--home", str(tmp_path), "--workers", workers, "--database-url", nowhere),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 4, ended.stderr
    assert "DATABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_first_token_is_made_and_printed_once(database: Database, tmp_path: Path) -> None:
    def served(said: Path) -> tuple[int, int]:
        """As the image does it. Returns what a request with the printed token is answered, and the exit code."""
        words = ("serve", "--first-token", "--host", "0.0.0.0", "--no-dashboard", "--home", str(tmp_path))
        variables = environment(DATABASE_URL=database.application_uri, PANEL_PORT="0")
        with (
            said.open("w") as out,
            subprocess.Popen(
                [sys.executable, "-m", "interfaces.cli.main", *words],
                env=variables,
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            ) as server,
        ):
            assert server.stderr is not None
            found = None
            while found is None:
                line = server.stderr.readline()
                assert line, "it ended before it served"
                found = re.search(r"running on http://0\.0\.0\.0:(\d+)", line)
            token = {"Authorization": f"Bearer {(said.read_text().split() or ['none'])[-1]}"}
            answered = httpx.get(f"http://127.0.0.1:{found[1]}/api/tokens", headers=token)
            server.send_signal(signal.SIGTERM)
            server.stderr.read()
        return answered.status_code, server.returncode

    assert served(tmp_path / "first") == (200, 0)
    assert "it is not shown again" in (tmp_path / "first").read_text()
    assert served(tmp_path / "second") == (401, 0)
    assert (tmp_path / "second").read_text() == ""
