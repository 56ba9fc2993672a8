"""Ask and hand out what comes of it while it comes: the pieces of an answer's text, the items of a batch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

from application.ask_model import Answer, AskModel, Question
from application.notebook import Context

P = TypeVar("P")
T = TypeVar("T")


class AnswerStream(Generic[P, T]):
    """The pieces of an answer as they come. At their end the answer is durable, and `answer` is there.

    The call goes on at its own pace, however slowly the pieces are taken, so that its times are the provider's. Read it
    within `async with`, or have the loop left by nothing but `break`: whoever leaves it cancels the call.
    """

    def __init__(self, run: Callable[[Callable[[P], None]], Awaitable[T]]) -> None:
        """run: asks, tells each piece to what it is given, and returns what the answer is to be."""
        self._pieces: asyncio.Queue[P | None] = asyncio.Queue()
        self.asking: asyncio.Task[T] = asyncio.create_task(_awaited(run(self._pieces.put_nowait)))
        self.asking.add_done_callback(self._ended)

    @property
    def answer(self) -> T:
        """The answer, once the pieces are at their end. Raises what ended the call, or RuntimeError before that."""
        if not self.asking.done():
            raise RuntimeError("The answer is there when the stream has been read to its end")
        return self.asking.result()

    async def __aiter__(self) -> AsyncIterator[P]:
        """The pieces; whoever stops before their end cancels the call. Raises Rejected, ProviderFailed, Unavailable."""
        try:
            while (piece := await self._pieces.get()) is not None:
                yield piece
            await self.asking
        finally:
            await self.aclose()

    async def __aenter__(self) -> "AnswerStream[P, T]":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the call if it is still under way, and wait until that is recorded."""
        await _cancelled({self.asking})

    def _ended(self, asking: "asyncio.Task[T]") -> None:
        self._pieces.put_nowait(None)
        if not asking.cancelled():
            asking.exception()  # whoever has left already would have it logged as forgotten


class StreamAnswer:
    """Begins streams, and ends those that are left over when the study closes."""

    def __init__(self, ask: AskModel) -> None:
        self._ask = ask
        self._open: set[asyncio.Task[Any]] = set()

    def __call__(self, question: Question, context: Context) -> AnswerStream[str, Answer]:
        """Ask, at once."""
        return self.begin(partial(self._ask.streamed, question, context))

    def begin(self, run: Callable[[Callable[[P], None]], Awaitable[T]]) -> AnswerStream[P, T]:
        """Begin whatever tells an answer's pieces; see AnswerStream."""
        stream = AnswerStream(run)
        self._open.add(stream.asking)
        stream.asking.add_done_callback(self._open.discard)
        return stream

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until that is recorded."""
        await _cancelled(self._open)


async def _awaited(running: Awaitable[T]) -> T:
    return await running


async def _cancelled(calls: "set[asyncio.Task[Any]]") -> None:
    open_calls = {call for call in calls if not call.done()}
    for call in open_calls:
        if not call.cancelling():  # a second time would interrupt the recording
            call.cancel()
    if open_calls:
        await asyncio.wait(open_calls)
