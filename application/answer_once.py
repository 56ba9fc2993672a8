"""Answer a request once: sent again under its Idempotency-Key it gets the same answer, and nothing is done twice."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, Claim, ClaimHeld, Payload
from domain.errors import Conflict, Unavailable
from domain.events import RecordedEvent
from domain.requests import RequestAnswered, RequestBegun, request_id_of

LARGEST_KEPT_BYTES = 8_000_000
ANSWER = "answer"


class AskedOnce(Struct, frozen=True, kw_only=True):
    """What is asked, and under which key."""

    key: str
    method: str
    path: str  # with its query
    body: bytes

    @property
    def content_sha256(self) -> str:
        """What another request under the same key would differ in."""
        head = f"{self.method} {self.path}\n".encode("utf-8", "surrogateescape")
        return hashlib.sha256(head + self.body).hexdigest()


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """An answer as it was given: its status, the headers that belong to it, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Begun(Struct, frozen=True, kw_only=True):
    """A request that is to be carried out now, by nobody else."""

    stream_id: UUID
    version: int
    context: Context


class AnswerOnce:
    """Begins requests and keeps what they were answered."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def begin(self, asked: AskedOnce, context: Context) -> KeptAnswer | Begun:
        """The answer if there is one, else the right to carry the request out.

        Raises Conflict when the key was used for another request, when the same one is under way, and when its process
        ended before it was answered: whether it was carried out is then told by what is recorded.
        """
        stream_id = request_id_of(context.actor, asked.key)
        events = await self._notebook.store.read_stream(stream_id)
        kept = await self._answer(asked, events)
        if kept is not None:
            return kept
        version = len(events) + 1
        began = RequestBegun(method=asked.method, path=asked.path, content_sha256=asked.content_sha256)
        entry = self._notebook.entry(context, stream_id, version, began)
        try:
            await self._notebook.write(entry, take=(_claim(stream_id),))
        except (ClaimHeld, AppendConflict):
            raise _under_way() from None
        return Begun(stream_id=stream_id, version=version, context=context)

    async def finish(self, begun: Begun, answer: KeptAnswer) -> None:
        """Keep what was answered. While the store is away it is not kept, and the key stays used."""
        small = len(answer.body) <= LARGEST_KEPT_BYTES
        payload = Payload(
            part=ANSWER,
            body=answer.body,
            media_type=answer.headers.get("content-type", "application/octet-stream"),
        )
        fact = RequestAnswered(
            status=answer.status,
            size=len(answer.body),
            headers=answer.headers,
            body=payload.ref() if small else None,
        )
        entry = self._notebook.entry(
            begun.context, begun.stream_id, begun.version + 1, fact, *((payload,) if small else ())
        )
        with suppress(Unavailable):
            await self._notebook.write(entry, free=(_claim(begun.stream_id),))

    async def _answer(self, asked: AskedOnce, events: Sequence[RecordedEvent]) -> KeptAnswer | None:
        begun = next((event for event in reversed(events) if isinstance(event.fact, RequestBegun)), None)
        if begun is None:
            return None
        last = events[-1]
        if isinstance(last.fact, RequestAnswered) and last.fact.refused:
            return None
        if isinstance(begun.fact, RequestBegun) and begun.fact.content_sha256 != asked.content_sha256:
            raise Conflict(
                f"This Idempotency-Key was used for another request, {begun.fact.method} {begun.fact.path} "
                f"at {begun.envelope.occurred_at:%Y-%m-%d %H:%M:%S} UTC; take a new key for a new request"
            )
        if not isinstance(last.fact, RequestAnswered):
            raise await self._unfinished(begun)
        payload = None
        if last.fact.body is not None:
            payload = await self._notebook.store.read_payload(last.stream_id, last.version, ANSWER)
        if payload is None:
            raise Conflict(
                f"This request was answered with {last.fact.status}; its answer of {last.fact.size:,} bytes was too "
                f"large to be kept. What was done is recorded under correlation id {last.envelope.correlation_id}"
            )
        return KeptAnswer(status=last.fact.status, headers=last.fact.headers, body=payload.body or b"")

    async def _unfinished(self, begun: RecordedEvent) -> Conflict:
        """Why there is no answer: who holds the claim is still at it; nobody holds that of a process that ended."""
        claim = _claim(begun.stream_id, self._notebook.ids.new())
        try:
            await self._notebook.take(claim)
        except ClaimHeld:
            return _under_way()
        await self._notebook.free(claim)
        return Conflict(
            "This request began, and its server ended before it was answered. What was done is recorded under "
            f"correlation id {begun.envelope.correlation_id} (GET /api/audit/events?correlation_id=…); "
            "take a new key to ask again"
        )


def _under_way() -> Conflict:
    return Conflict("A request with this Idempotency-Key is under way; send it again when that has been answered")


def _claim(stream_id: UUID, holder: UUID | None = None) -> Claim:
    return Claim(key=f"request/{stream_id}", holder=holder or stream_id)
