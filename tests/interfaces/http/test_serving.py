"""The server as a process: where it binds, what it says, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from domain.errors import Rejected
from interfaces.http.__main__ import check_loopback
from tests.conftest import Database

ROOT = Path(__file__).parents[3]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "interfaces.http", *arguments]


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


@contextmanager
def slow_provider() -> Iterator[tuple[str, threading.Event]]:
    """An OpenAI-compatible chat endpoint that takes its time; the event says that it was asked."""
    asked = threading.Event()

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.set()
            time.sleep(1)
            body = json.dumps(
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "m",
                    "choices": [
                        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "at last"}}
                    ],
                }
            ).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_terminated_server_finishes_what_it_began_and_ends_well(database: Database, tmp_path: Path) -> None:
    with (
        slow_provider() as (provider, asked),
        process(
            "--home", str(tmp_path), DATABASE_URL=database.owner_uri, OPENAI_BASE_URL=provider, OPENAI_API_KEY="sk-x"
        ) as (server, address, lines),
    ):
        answers: list[httpx.Response] = []
        question = {"prompt": "hello", "provider": "openai", "model": "m"}
        client = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{address}/api/calls", json=question, timeout=30))
        )
        client.start()
        assert asked.wait(20)
        server.send_signal(signal.SIGTERM)
        client.join()
        assert server.wait(timeout=30) == 0
        assert answers[0].status_code == 201, answers[0].text
        assert answers[0].json()["text"] == "at last"
    requests = [entry for line in lines if (entry := json.loads(line)).get("event") == "request"]
    assert [(entry["method"], entry["path"], entry["status"]) for entry in requests] == [("POST", "/api/calls", 201)]
    assert requests[0]["request_id"] == answers[0].headers["x-request-id"]
    assert requests[0]["duration_ms"] > 900


def test_several_workers_serve_one_store(database: Database, tmp_path: Path) -> None:
    with process("--workers", "2", "--home", str(tmp_path), "--database-url", database.owner_uri) as (
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


def test_addresses_that_others_can_reach_are_refused() -> None:
    for host in ("0.0.0.0", "::", "", "10.1.2.3", "192.168.0.1", "8.8.8.8"):
        with pytest.raises(Rejected, match=r"127\.0\.0\.1"):
            check_loopback(host)
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        check_loopback(host)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "told"),
    [
        (("--host", "0.0.0.0"), {}, 2, "proxy in front"),
        ((), {"PANEL_ADDRESS": "0.0.0.0"}, 2, "proxy in front"),
        (("--database-url", "mysql://x"), {}, 2, "DATABASE_URL"),
        (("--database-url", "postgresql://nobody@127.0.0.1:1/none"), {}, 4, "DATABASE_URL"),
        (("--workers", "2", "--database-url", "postgresql://nobody@127.0.0.1:1/none"), {}, 4, "DATABASE_URL"),
        (("--port", "eighty"), {}, 2, "--port"),
    ],
)
def test_a_server_that_can_not_start_says_why(
    arguments: tuple[str, ...], variables: dict[str, str], code: int, told: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        command("--home", str(tmp_path), *arguments),
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
