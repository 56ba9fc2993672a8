"""One attempt whose answer comes in pieces: each is passed on as it comes, and all is kept, however it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from msgspec import structs

from application.providers import PreparedRequest, ProviderAnswer, Transcript
from infrastructure.providers.attempt import HttpAnswer, checked, milliseconds_since, read_whole, without_key
from infrastructure.providers.event_stream import DONE, ChunkedChat, ErrorInStream, ServerEvent, ServerEvents
from infrastructure.providers.failures import (
    Redactor,
    cut_short,
    malformed,
    refused,
    reported_status,
    timed_out,
    unreachable,
)
from infrastructure.providers.wire_format import Malformed

# For what follows [DONE], so that the connection can be used again; the answer is complete without it.
CLOSING_SECONDS = 0.2


class HttpStream(NamedTuple):
    """What begins to come back."""

    status: int
    headers: Mapping[str, str]
    parts: AsyncIterator[bytes]


Opening = Callable[[], AbstractAsyncContextManager[HttpStream]]


async def streamed_attempt(
    post: Opening,
    prepared: PreparedRequest,
    *,
    timeout_seconds: float,
    redact: Redactor,
    broken: tuple[type[Exception], ...],
    transcript: Transcript,
) -> ProviderAnswer:
    """Post once and pass on what comes. The limit holds until the first chunk, and from each to the next.

    A server that ignores what was asked and answers in one piece has the same limit for all of it.
    broken: what the client raises when the connection fails. Raises AttemptFailed.
    """
    listener = _Listener(prepared, transcript, redact)
    try:
        try:
            async with asyncio.timeout(timeout_seconds) as limit, post() as response:
                await listener.listen(response, limit, timeout_seconds)
        except TimeoutError:
            if not listener.has_all:
                awaited = "further chunk" if listener.is_stream else "answer"
                raise timed_out(timeout_seconds, latency_ms=listener.elapsed_ms(), awaited=awaited) from None
        except broken as error:
            if not listener.has_all:
                raise unreachable(error, latency_ms=listener.elapsed_ms(), redact=redact) from None
        return await listener.answer()
    finally:
        listener.write_down()


class _Listener:
    """What came so far, and what it means."""

    def __init__(self, prepared: PreparedRequest, transcript: Transcript, redact: Redactor) -> None:
        self.prepared = prepared
        self.transcript = transcript
        self.redact = redact
        self.began = time.perf_counter()
        self.ended_ms: float | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.received = bytearray()
        self.events = ServerEvents()
        self.chat = ChunkedChat()
        self.is_stream = False
        self.is_done = False

    @property
    def has_all(self) -> bool:
        """Whether the answer is complete, whatever becomes of the connection. Not all servers say [DONE]."""
        return self.is_done or self.chat.has_finished

    def elapsed_ms(self) -> float:
        return milliseconds_since(self.began) if self.ended_ms is None else self.ended_ms

    async def listen(self, response: HttpStream, limit: asyncio.Timeout, timeout_seconds: float) -> None:
        """Take in what comes until the stream ends. Comments keep no connection alive: a chunk must come."""
        self.status, self.headers = response.status, response.headers
        is_success = 200 <= self.status < 300
        async for part in response.parts:
            self.received += part
            if is_success and not self.is_done and self._take(self.events.feed(part)):
                seconds = CLOSING_SECONDS if self.is_done else timeout_seconds
                limit.reschedule(asyncio.get_running_loop().time() + seconds)
        if is_success and not self.is_done:
            self._take(self.events.end())

    async def answer(self) -> ProviderAnswer:
        """What it all comes to. Raises AttemptFailed."""
        latency_ms = self.elapsed_ms()
        if not self.is_stream:
            return await self._answer_of_one_piece(latency_ms)
        if not self.has_all:
            raise cut_short(latency_ms=latency_ms)
        completion = self.chat.completion()
        if completion is None:
            raise self._malformed("the stream holds no answer")
        whole = without_key(HttpAnswer(self.status, self.headers, completion), self.redact)
        answer = await read_whole(self.prepared, whole, latency_ms=latency_ms, redact=self.redact)
        return structs.replace(
            answer,
            body=self.redact.own_key(bytes(self.received)),
            media_type="text/event-stream",
            completion=whole.body,
            first_token_ms=self.transcript.first_token_ms,
        )

    def write_down(self) -> None:
        """Leave what came in the transcript, for whoever records an attempt that brought no answer."""
        completion = self.chat.completion()
        self.transcript.body = self.redact(bytes(self.received))
        media_type = self.headers.get("content-type", self.transcript.media_type)
        self.transcript.media_type = self.redact.text(media_type)
        self.transcript.completion = None if completion is None else self.redact(completion)
        self.transcript.latency_ms = self.elapsed_ms()

    async def _answer_of_one_piece(self, latency_ms: float) -> ProviderAnswer:
        whole = HttpAnswer(self.status, self.headers, bytes(self.received))
        whole = checked(whole, latency_ms=latency_ms, redact=self.redact, model=self.prepared.model)
        answer = await read_whole(self.prepared, whole, latency_ms=latency_ms, redact=self.redact)
        if answer.text:
            self.transcript.tell(answer.text)
        return answer

    def _take(self, events: list[ServerEvent]) -> bool:
        """Take events in and pass their text on; says whether there were any. Raises AttemptFailed."""
        for event in events:
            self.is_stream = True
            if event.data.strip() == DONE:
                self.is_done = True
                self.ended_ms = self.elapsed_ms()
                break
            try:
                text = self.chat.take(event)
            except Malformed as error:
                raise self._malformed(str(error)) from None
            except ErrorInStream as error:
                raise refused(
                    self.status,
                    self.headers,
                    error.body,
                    latency_ms=self.elapsed_ms(),
                    redact=self.redact,
                    meant=reported_status(error.body),
                ) from None
            if self.chat.has_begun and self.transcript.first_token_ms is None:
                self.transcript.first_token_ms = self.elapsed_ms()
            if text:
                self.transcript.tell(text)
        return bool(events)

    def _malformed(self, reason: str) -> Exception:
        return malformed(
            reason, bytes(self.received), latency_ms=self.elapsed_ms(), status=self.status, redact=self.redact
        )
