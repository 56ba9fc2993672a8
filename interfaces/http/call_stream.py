"""What is asked as server-sent events: an answer's text or a batch's items while they come, the whole, then [DONE]."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar import Request, Response
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response import Stream

from application.stream_answer import AnswerStream
from domain.errors import StudyError
from interfaces.http.problems import problem_of

P = TypeVar("P")
T = TypeVar("T")
Named = tuple[str, Any]  # an event: its name, and what it holds

MEDIA_TYPE = "text/event-stream"
CLIENT_LEFT = 499  # nobody reads it but the log
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # no proxy may keep it back
DESCRIPTION = """
With `stream: true`: events named `delta`, each with a piece of the text; then `answer`, the same JSON as without
streaming, once it is durable; then `[DONE]`. What fails before there is any text is a problem with its status; what
fails later is an event `error` that holds the problem, and no `[DONE]` follows. Whoever leaves cancels the call.
""".strip()
ANSWERED = (
    '{"call_id":"0195512a-7c00-7000-8000-000000000001","status":"success","text":"Two, three and five.","position":7}'
)
EXAMPLE = {"delta": '{"text":"Two, "}', "answer": ANSWERED}


@dataclass
class OperationThatStreams(Operation):
    """The documentation of a route that answers with events when it is asked to."""

    status: ClassVar[str] = "201"
    description_of_events: ClassVar[str] = DESCRIPTION
    example_of_events: ClassVar[dict[str, str]] = EXAMPLE

    def __post_init__(self) -> None:
        """Add the events to the answer in one piece."""
        answered = (self.responses or {})[self.status]
        text = Schema(type=OpenAPIType.STRING)
        data = Schema(type=OpenAPIType.STRING, description="JSON, but for [DONE].")
        schema = Schema(
            type=OpenAPIType.OBJECT,
            description=f"One event of the stream. {self.description_of_events}",
            properties={"event": text, "data": data},
            required=["data"],
        )
        examples: dict[str, Example | Reference] = {
            name: Example(value={"event": name, "data": told}) for name, told in self.example_of_events.items()
        }
        events = OpenAPIMediaType(schema=schema, examples=examples)
        answered.content = {**(answered.content or {}), MEDIA_TYPE: events}  # type: ignore[union-attr]


async def streamed(
    stream: AnswerStream[str, T], request: Request[Any, Any, Any], shape: Callable[[T], Any]
) -> Response[Any]:
    """The response of an answer, once there is text to send. Raises what ends the call before that.

    shape: the answer as an answer without streaming has it
    """
    return await in_events(
        stream,
        request,
        of_piece=lambda piece: ("delta", {"text": piece}),
        of_whole=lambda answer: ("answer", shape(answer)),
    )


async def in_events(
    stream: AnswerStream[P, T],
    request: Request[Any, Any, Any],
    *,
    of_piece: Callable[[P], Named],
    of_whole: Callable[[T], Named],
) -> Response[Any]:
    """The response, once there is a piece to send. Raises what ends the asking before that."""
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
    return Stream(_events(stream, pieces, first, of_piece, of_whole), media_type=MEDIA_TYPE, headers=HEADERS)


async def _events(
    stream: AnswerStream[P, T],
    pieces: AsyncIterator[P],
    first: P | None,
    of_piece: Callable[[P], Named],
    of_whole: Callable[[T], Named],
) -> AsyncIterator[bytes]:
    async with stream:
        try:
            if first is not None:
                yield _event(*of_piece(first))
            async for piece in pieces:
                yield _event(*of_piece(piece))
        except StudyError as error:
            yield _event("error", problem_of(error))
            return
        yield _event(*of_whole(stream.answer))
        yield b"data: [DONE]\n\n"


async def _first(pieces: AsyncIterator[P]) -> P | None:
    return await anext(pieces, None)


async def _left(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(name: str, content: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(content) + b"\n\n"
