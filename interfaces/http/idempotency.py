"""The header Idempotency-Key: the same request sent again is answered with what it was answered, and not done again."""

from typing import Any

import msgspec
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from application.answer_once import AnswerOnce, AskedOnce, KeptAnswer
from domain.errors import Rejected
from interfaces.http.parameters import context_of
from interfaces.http.problems import TooLarge
from interfaces.study import Study

HEADER = "idempotency-key"
REPLAYED = "Idempotency-Replayed"
OF_THE_ANSWER = frozenset({"content-type", "location"})
LARGEST_BODY_BYTES = 20_000_000


class _Streaming(msgspec.Struct):
    """The one thing of a body that matters here."""

    stream: bool = False


class Idempotency(ASGIMiddleware):
    """Keeps the answers of POST requests that name a key, by the actor who asked."""

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Serve one request. Raises Rejected for an unusable key, Conflict, TooLarge."""
        keys = [value for name, value in scope["headers"] if name == HEADER.encode()]
        if scope["type"] != ScopeType.HTTP or scope["method"] != "POST" or not keys:
            await next_app(scope, receive, send)
            return
        body = await _body(receive)
        _check_not_streaming(body)
        study: Study = scope["app"].state.study
        once, query = AnswerOnce(study.notebook), scope["query_string"].decode("latin-1")
        asked = AskedOnce(
            key=b",".join(keys).decode("latin-1"),
            method=scope["method"],
            path=scope["path"] + (f"?{query}" if query else ""),
            body=body,
        )
        begun = await once.begin(asked, context_of(study, scope["state"]))
        if isinstance(begun, KeptAnswer):
            await _replay(begun, send)
            return
        answer = _Answer()
        await next_app(scope, _given(body, receive), answer.take)
        await once.finish(begun, answer.kept())
        await answer.send_on(send)


class _Answer:
    """An answer that is held back until it is kept."""

    def __init__(self) -> None:
        self._start: Any = {"status": 500, "headers": []}
        self._body = bytearray()

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")

    def kept(self) -> KeptAnswer:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._start["headers"]}
        told = {name: value for name, value in headers.items() if name in OF_THE_ANSWER}
        return KeptAnswer(status=self._start["status"], headers=told, body=bytes(self._body))

    async def send_on(self, send: Send) -> None:
        await send(self._start)
        await send({"type": "http.response.body", "body": bytes(self._body), "more_body": False})


async def _replay(answer: KeptAnswer, send: Send) -> None:
    start: Any = {"type": "http.response.start", "status": answer.status, "headers": []}
    headers = MutableScopeHeaders.from_message(start)
    for name, value in {**answer.headers, "content-length": str(len(answer.body)), REPLAYED: "true"}.items():
        headers[name] = value
    await send(start)
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message["body"]
        more = message["more_body"]
        if len(body) > LARGEST_BODY_BYTES:
            raise TooLarge(detail=f"The body is larger than {LARGEST_BODY_BYTES:,} bytes")
    return bytes(body)


def _given(body: bytes, receive: Receive) -> Receive:
    """What a route receives whose body was read already."""
    left: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Any:
        return left.pop() if left else await receive()

    return received


def _check_not_streaming(body: bytes) -> None:
    try:
        streaming = msgspec.json.decode(body, type=_Streaming).stream
    except (msgspec.DecodeError, RecursionError):
        return  # the route says what is wrong with it
    if streaming:
        raise Rejected(
            "What is streamed is not kept, so it can't be told again; leave away the Idempotency-Key or stream",
            fields=("Idempotency-Key", "stream"),
        )
