"""Ask a model and hand out its answer while it comes."""

import asyncio
from collections.abc import AsyncIterator

from application.ask_model import Answer, AskModel, Question
from application.notebook import Context


class AnswerStream:
    """The pieces of an answer's text as they come. At their end the answer is durable, and `answer` is there.

    The call goes on at its own pace, however slowly the pieces are taken, so that its times are the provider's. Read it
    within `async with`, or have the loop left by nothing but `break`: whoever leaves it cancels the call.
    """

    def __init__(self, ask: AskModel, question: Question, context: Context) -> None:
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.asking = asyncio.create_task(ask.streamed(question, context, self._pieces.put_nowait))
        self.asking.add_done_callback(self._ended)

    @property
    def answer(self) -> Answer:
        """The answer, once the pieces are at their end. Raises what ended the call, or RuntimeError before that."""
        if not self.asking.done():
            raise RuntimeError("The answer is there when the stream has been read to its end")
        return self.asking.result()

    async def __aiter__(self) -> AsyncIterator[str]:
        """The pieces; whoever stops before their end cancels the call. Raises Rejected, ProviderFailed, Unavailable."""
        try:
            while (piece := await self._pieces.get()) is not None:
                yield piece
            await self.asking
        finally:
            await self.aclose()

    async def __aenter__(self) -> "AnswerStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the call if it is still under way, and wait until that is recorded."""
        await _cancelled({self.asking})

    def _ended(self, asking: "asyncio.Task[Answer]") -> None:
        self._pieces.put_nowait(None)
        if not asking.cancelled():
            asking.exception()  # whoever has left already would have it logged as forgotten


class StreamAnswer:
    """Begins streams, and ends those that are left over when the study closes."""

    def __init__(self, ask: AskModel) -> None:
        self._ask = ask
        self._open: set[asyncio.Task[Answer]] = set()

    def __call__(self, question: Question, context: Context) -> AnswerStream:
        """Ask, at once."""
        stream = AnswerStream(self._ask, question, context)
        self._open.add(stream.asking)
        stream.asking.add_done_callback(self._open.discard)
        return stream

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until that is recorded."""
        await _cancelled(self._open)


async def _cancelled(calls: "set[asyncio.Task[Answer]]") -> None:
    open_calls = {call for call in calls if not call.done()}
    for call in open_calls:
        if not call.cancelling():  # a second time would interrupt the recording
            call.cancel()
    if open_calls:
        await asyncio.wait(open_calls)
