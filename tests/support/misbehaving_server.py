"""A model provider on loopback that speaks OpenAI's protocol over real HTTP and misbehaves on purpose.

In a test: `with MisbehavingServer() as server: server.behave("rate_limited", "ok")`. As a process of its own, which
outlives a client that is killed: `python -m tests.support.misbehaving_server --log FILE`, which prints its URL.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from tests.support.misbehaving_stream import STREAM_BEHAVIOURS, reset, send_stream

DEPLOYMENTS = ("gpt-4o-mini-deploy", "embed-deploy")
DIMENSIONS = 8
MODELS = ("gpt-4o-mini", "text-embedding-3-small", "tiny")
ERRORS: dict[str, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_exceeded", "Slow down"),
    "insufficient_quota": (429, "insufficient_quota", "You exceeded your current quota"),
    "server_error": (500, "server_error", "Something broke"),
    "bad_request": (400, "invalid_request_error", "That makes no sense"),
    "content_filter": (400, "content_filter", "The prompt was filtered"),
    "forbidden": (403, "forbidden", "Not for you"),
    "not_found": (404, "model_not_found", "No such model"),
    "request_timeout": (408, "timeout", "Too slow"),
    "conflict": (409, "conflict", "Try again"),
    "unprocessable": (422, "unprocessable", "Can't process that"),
}
BEHAVIOURS = {
    *ERRORS,
    *"ok hang slow moved error_in_success bad_gateway unauthorized malformed_json empty_body".split(),
    *"reply deployments truncated reset_mid_body no_usage null_content extra_fields".split(),
    *STREAM_BEHAVIOURS,
    *"shuffled_vectors wrong_count repeated_index nan_vector wrong_dimension float_list".split(),
}


@dataclass(frozen=True)
class Received:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.time)

    @property
    def sha256(self) -> str:
        """Of the body."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Behaviour:
    """What to do with a request: one of BEHAVIOURS, or ValueError, as a misspelt one would pass for "ok".

    "reply" sends `status`, `headers` (whole lines) and `body` as they are, after `delay_seconds`.
    """

    name: str
    retry_after: float | None = 0.01
    as_date: bool = False
    delay_seconds: float = 0.2
    status: int = 200
    headers: str = ""
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.name not in BEHAVIOURS:
            raise ValueError(f"No behaviour is named {self.name!r}; there are {', '.join(sorted(BEHAVIOURS))}")


Rule = Callable[[Received, int], "str | Behaviour"]


def vector_of(text: str, dimensions: int = DIMENSIONS) -> NDArray[np.float32]:
    """(dimensions,) float32 of unit length, made of the text's hash: what the server answers for this text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    vector = np.random.default_rng(seed).standard_normal(dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class MisbehavingServer:
    """The server, in a thread of its own."""

    def __init__(self, *, port: int = 0, log: TextIO | None = None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._queue: deque[Behaviour] = deque()
        self._rule: Rule = lambda _request, _number: "ok"
        self._log = log
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._may_answer = threading.Event()
        self._may_answer.set()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="misbehaving-server", daemon=True)

    def __enter__(self) -> "MisbehavingServer":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Listen no more and drop every open connection; a second time does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)

    def behave(self, *behaviours: str | Behaviour) -> None:
        """What to do with the next requests, one after the other; after that the rule holds again."""
        self._queue.extend([_named(each) for each in behaviours])

    def behave_always(self, behaviour: str | Behaviour) -> None:
        """What to do with every request that nothing else is said about."""
        always = _named(behaviour)
        self._rule = lambda _request, _number: always

    def behave_by(self, rule: Rule) -> None:
        """Decide by the request and its number, counted from 0."""
        self._rule = rule

    def hold(self) -> None:
        """Write requests down, but answer none before `release`."""
        self._may_answer.clear()

    def release(self) -> None:
        """Answer what is held."""
        self._may_answer.set()

    def run_for_ever(self) -> None:
        """Serve in this thread until the process ends."""
        self._serve()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, sock=self._listening))
        self._loop.call_soon(self._ready.set)
        try:
            self._loop.run_forever()
        finally:
            server.close()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # asyncio does this only for sockets of its own; without it, a stream's first chunk waits 40 ms for an ACK.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (request := await _read_request(reader)) is not None:
                behaviour = self._record(request)
                while not self._may_answer.is_set():
                    await asyncio.sleep(0.01)
                if not await _answer(request, behaviour, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the server is stopped
        finally:
            writer.close()

    def _record(self, request: Received) -> Behaviour:
        """Write the request down, on disk if there is a log, before anything is answered."""
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            if self._log is not None:
                line = {"sha256": request.sha256, "path": request.path, "at": request.at}
                self._log.write(json.dumps(line) + "\n")
                self._log.flush()
            return self._queue.popleft() if self._queue else _named(self._rule(request, number))


def _named(behaviour: str | Behaviour) -> Behaviour:
    return Behaviour(behaviour) if isinstance(behaviour, str) else behaviour


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)


async def _answer(
    request: Received, behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    """Answer, or don't; says whether the connection lives on."""
    match behaviour.name:
        case "hang":
            await reader.read()  # until the client leaves
            return False
        case "reply":
            await asyncio.sleep(behaviour.delay_seconds)
            return _send(writer, behaviour.status, behaviour.body, extra=behaviour.headers)
        case "slow":
            await asyncio.sleep(behaviour.delay_seconds)
        case "moved":
            return _send(writer, 308, b"", extra="location: https://user:secret@elsewhere.example/v1?key=secret\r\n")
        case "error_in_success":
            return _send(writer, 200, b'{"error": {"message": "Upstream is busy", "code": 429}}')
        case "bad_gateway":
            return _send(writer, 502, b"<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
        case "unauthorized":
            key = request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("api-key", "")
            return _send(writer, 401, _error("invalid_api_key", f"Incorrect API key provided: {key}"))
        case "malformed_json":
            return _send(writer, 200, b'{"choices": [{"message": ')
        case "empty_body":
            return _send(writer, 200, b"")
        case name if name in ERRORS:
            status, code, message = ERRORS[name]
            return _send(writer, status, _error(code, message), extra=_retry_after(behaviour) if status == 429 else "")
    asked = json.loads(request.body) if request.body else {}
    status, content = _content(request, asked, behaviour.name)
    body = json.dumps(content).encode()
    if behaviour.name == "truncated":
        return _send(writer, status, body, claimed_length=len(body) + 100)
    if behaviour.name == "reset_mid_body":
        _send(writer, status, body[: len(body) // 2], claimed_length=len(body))
        return await reset(writer)
    if asked.get("stream") and "choices" in content and behaviour.name != "whole_instead":
        return await send_stream(reader, writer, asked, content, behaviour.name, behaviour.delay_seconds)
    return _send(writer, status, body)


# Of the codes that have one; providers send others too.
PHRASES = {status.value: status.phrase for status in HTTPStatus}


def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    extra: str = "",
    claimed_length: int | None = None,
) -> bool:
    request_id = hashlib.sha256(body).hexdigest()[:12]
    head = (
        f"HTTP/1.1 {status} {PHRASES.get(status, 'X')}\r\n"
        f"content-type: {content_type}\r\nx-request-id: req_{request_id}\r\n"
        f"x-ratelimit-remaining-requests: 99\r\nset-cookie: session=secret\r\n{extra}"
        f"content-length: {len(body) if claimed_length is None else claimed_length}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    return claimed_length is None


def _content(request: Received, asked: dict[str, Any], behaviour: str) -> tuple[int, Any]:
    path = request.path.partition("?")[0]
    if path.endswith("/models"):
        return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]}
    if behaviour == "deployments":
        return 200, {"object": "list", "data": [{"id": name} for name in DEPLOYMENTS]}
    _, is_azure, deployed = path.partition("/deployments/")
    model = deployed.partition("/")[0] if is_azure else asked.get("model")
    if is_azure and model not in DEPLOYMENTS:
        message = "The API deployment for this resource does not exist."
        return 404, {"error": {"code": "DeploymentNotFound", "message": message}}
    if path.endswith("/chat/completions"):
        return 200, _changed({**_chat(request, asked, behaviour), "model": model}, behaviour)
    if path.endswith("/embeddings"):
        return 200, _changed({**_embeddings(asked, behaviour), "model": model}, behaviour)
    return 404, {"error": {"code": "not_found", "message": f"No route {path}"}}


def _changed(answer: dict[str, Any], behaviour: str) -> dict[str, Any]:
    if behaviour == "no_usage":
        del answer["usage"]
    return {**answer, "surprise": {"deep": [1]}} if behaviour == "extra_fields" else answer


def _said(asked: dict[str, Any]) -> str:
    last = [message["content"] for message in asked["messages"] if message["role"] == "user"][-1]
    return f"echo: {last}"


def _chat(request: Received, asked: dict[str, Any], behaviour: str) -> dict[str, Any]:
    said = None if behaviour == "null_content" else _said(asked)
    choices = [
        {"index": index, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        for index in range(asked.get("n") or 1)
    ]
    prompt = sum(len(str(message.get("content") or "").split()) for message in asked["messages"])
    completion = len((said or "").split()) * len(choices)
    return {
        "id": f"chatcmpl-{request.sha256[:12]}",
        "object": "chat.completion",
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def _embeddings(asked: dict[str, Any], behaviour: str) -> dict[str, Any]:
    texts = _inputs(asked["input"])
    vectors = [vector_of(text, asked.get("dimensions") or DIMENSIONS) for text in texts]
    if behaviour == "nan_vector":
        vectors[-1] = np.full_like(vectors[-1], np.nan)
    if behaviour == "wrong_dimension":
        vectors[-1] = vectors[-1][:-1]
    as_floats = behaviour == "float_list" or asked.get("encoding_format") != "base64"
    data = [
        {
            "object": "embedding",
            "index": 0 if behaviour == "repeated_index" else index,
            "embedding": vector.tolist() if as_floats else base64.b64encode(vector.astype("<f4").tobytes()).decode(),
        }
        for index, vector in enumerate(vectors)
    ]
    if behaviour == "shuffled_vectors":
        random.Random(len(data)).shuffle(data)
    if behaviour == "wrong_count":
        data.append(data[0])
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "usage": usage}


def _inputs(given: Any) -> list[str]:
    """One text or many, or their tokens, which stand for a text of their own."""
    one = isinstance(given, str) or (given and isinstance(given[0], int))
    return [each if isinstance(each, str) else json.dumps(each) for each in ([given] if one else given)]


def _error(code: str, message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": code, "code": code}}).encode()


def _retry_after(behaviour: Behaviour) -> str:
    if behaviour.retry_after is None:
        return ""
    if behaviour.as_date:
        moment = datetime.now(UTC) + timedelta(seconds=behaviour.retry_after)
        return f"retry-after: {format_datetime(moment, usegmt=True)}\r\n"
    return f"retry-after: {behaviour.retry_after}\r\n"


def main() -> None:
    """Serve as a process of its own; prints the URL, then serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--fail-rate", type=float, default=0.0)
    parser.add_argument("--permanent-rate", type=float, default=0.0)
    parser.add_argument("--hang-rate", type=float, default=0.0)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    rates = (
        ("server_error", options.fail_rate),
        ("bad_request", options.permanent_rate),
        ("hang", options.hang_rate),
    )
    with options.log.open("a") as log:
        server = MisbehavingServer(port=options.port, log=log)

        def rule(_request: Received, _number: int) -> Behaviour:
            met = chance.random()
            for behaviour, rate in rates:
                if met < rate:
                    return Behaviour(behaviour)
                met -= rate
            return Behaviour("slow", delay_seconds=options.delay_ms / 1000)

        server.behave_by(rule)
        print(server.url, flush=True)
        server.run_for_ever()


if __name__ == "__main__":
    main()
