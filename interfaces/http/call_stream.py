"""An answer as server-sent events: its text while it comes, then the answer, then [DONE]."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response import Stream

from application.stream_answer import AnswerStream
from domain.errors import StudyError
from interfaces.http.problems import problem_of

T = TypeVar("T")

MEDIA_TYPE = "text/event-stream"
CLIENT_LEFT = 499  # nobody reads it but the log
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # no proxy may keep it back
DESCRIPTION = """
With `stream: true`: events named `delta`, each with a piece of the text; then `answer`, the same JSON as without
streaming, once it is durable; then `[DONE]`. What fails before there is any text is a problem with its status; what
fails later is an event `error` that holds the problem, and no `[DONE]` follows. Whoever leaves cancels the call.
""".strip()
EXAMPLE = """event: delta
data: {"text":"Two, "}

event: delta
data: {"text":"three and five."}

event: answer
data: {"call_id":"0195512a-7c00-7000-8000-000000000001","status":"success","text":"Two, three and five.", …}

data: [DONE]
"""


@dataclass
class OperationThatStreams(Operation):
    """The documentation of a route that answers with events when it is asked to."""

    def __post_init__(self) -> None:
        """Add the events to the answer in one piece."""
        answered = (self.responses or {})["201"]
        schema = Schema(type=OpenAPIType.STRING, description=DESCRIPTION)
        events = OpenAPIMediaType(schema=schema, examples={"stream": Example(value=EXAMPLE)})
        answered.content = {**(answered.content or {}), MEDIA_TYPE: events}  # type: ignore[union-attr]


async def streamed(
    stream: AnswerStream[T], request: Request[Any, Any, Any], shape: Callable[[T], Any]
) -> Response[Any]:
    """The response, once there is text to send. Raises what ends the call before that.

    shape: the answer as an answer without streaming has it
    """
    pieces = aiter(stream)
    waiting = asyncio.create_task(_first(pieces))
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return Response(None, status_code=CLIENT_LEFT)
        first = await waiting
    finally:
        leaving.cancel()
        if not waiting.done():
            await stream.aclose()
    return Stream(_events(stream, pieces, first, shape), media_type=MEDIA_TYPE, headers=HEADERS)


async def _events(
    stream: AnswerStream[T], pieces: AsyncIterator[str], first: str | None, shape: Callable[[T], Any]
) -> AsyncIterator[bytes]:
    async with stream:
        try:
            if first is not None:
                yield _event("delta", {"text": first})
            async for piece in pieces:
                yield _event("delta", {"text": piece})
        except StudyError as error:
            yield _event("error", problem_of(error))
            return
        yield _event("answer", shape(stream.answer))
        yield b"data: [DONE]\n\n"


async def _first(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


async def _left(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(name: str, content: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(content) + b"\n\n"
