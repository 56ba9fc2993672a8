"""Use cases tested as sentences: given events, when a command runs, then these events, or this error.

The store here is the in-memory reference of the port: the same contract test runs on it and on Postgres.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application.ask_model import Answer, is_refusal
from application.notebook import Context, Notebook
from application.ports import Append, AppendConflict, Claim, ClaimHeld, JournalFile, NewEvent, Payload
from application.stored_answers import end_of, stored_answer
from domain.calls import CallAnswered, CallRequested
from domain.errors import Unavailable
from domain.events import Envelope, Fact, RecordedEvent
from domain.groups import GroupMembersAdded

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
CONTEXT = Context("ada", UUID(int=7))


class SteppingClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class CountingIds:
    """Ids 1, 2, 3 …, or those after a number."""

    def __init__(self, *, after: int = 0) -> None:
        self.last = after

    def new(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)


class ListStore:
    """The port EventStore over a list: slow, obvious, and without a disk."""

    def __init__(self) -> None:
        self.events: list[RecordedEvent] = []
        self.payloads: dict[tuple[UUID, int, str], Payload] = {}
        self.claims: dict[str, Claim] = {}
        self.unavailable = False
        self.begun = 0  # appends that were asked for, done or not

    async def append(self, append: Append) -> int:
        self.begun += 1
        await asyncio.sleep(0)
        if self.unavailable:
            raise Unavailable("The event store can't be written: it is switched off")
        standing = {(event.stream_id, event.version): event for event in self.events}
        clashes = [standing.get((new.stream_id, new.version)) for new in append.events]
        if any(clashes):
            same = [
                old is not None and (old.envelope, old.fact) == (new.envelope, new.fact)
                for old, new in zip(clashes, append.events, strict=True)
            ]
            if all(same):
                return max(old.position for old in clashes if old is not None)
            raise AppendConflict(f"A version of {append.events[0].stream_id} is taken")
        for claim in append.take:
            held = self.claims.get(claim.key)
            if held is not None and held.holder != claim.holder:
                raise ClaimHeld(f"{claim.key} is held", holder=held.holder)
        self.claims.update({claim.key: claim for claim in append.take})
        for claim in append.free:
            if self.claims.get(claim.key) == claim:
                del self.claims[claim.key]
        for new in append.events:
            self._record(new)
        return len(self.events)

    async def read_stream(self, stream_id: UUID, *, after_version: int = 0) -> Sequence[RecordedEvent]:
        if self.unavailable:
            raise Unavailable("The event store can't be read: it is switched off")
        return [event for event in self.events if event.stream_id == stream_id and event.version > after_version]

    async def begun_by(self, stream_ids: Sequence[UUID], fact_type: type[Fact]) -> set[UUID]:
        if self.unavailable:
            raise Unavailable("The event store can't be read: it is switched off")
        return {
            event.stream_id
            for event in self.events
            if event.version == 1 and isinstance(event.fact, fact_type) and event.stream_id in set(stream_ids)
        }

    async def read_payload(self, stream_id: UUID, version: int, part: str) -> Payload | None:
        return self.payloads.get((stream_id, version, part))

    async def read_payloads(self, stream_id: UUID, part: str) -> Mapping[int, Payload]:
        if self.unavailable:
            raise Unavailable("The event store can't be read: it is switched off")
        return {
            version: payload
            for (stream, version, name), payload in self.payloads.items()
            if (stream, name) == (stream_id, part)
        }

    async def answer_to_turn(
        self, request_hash: str, conversation_id: UUID, turn: int, *, at_least: int
    ) -> UUID | None:
        """The port AnsweredTurns, as it is in SQL."""
        place = {"conversation_id": str(conversation_id), "turn": turn}
        asked = {
            event.stream_id
            for event in self.events
            if isinstance(event.fact, CallRequested)
            and event.fact.request_hash == request_hash
            and place.items() <= event.fact.metadata.items()
        }
        answered = [event for event in self.events if isinstance(event.fact, CallAnswered) and event.stream_id in asked]
        return answered[-1].stream_id if answered else None

    async def last_answered(self, request_hash: str, *, at_least: int) -> UUID | None:
        """The port AnsweredRequests: every answer shows at once."""
        asked = {
            event.stream_id
            for event in self.events
            if isinstance(event.fact, CallRequested) and event.fact.request_hash == request_hash
        }
        answered = [event for event in self.events if isinstance(event.fact, CallAnswered) and event.stream_id in asked]
        return answered[-1].stream_id if answered else None

    async def answers_in(self, group_id: UUID, request_hashes: Sequence[str]) -> dict[str, list[Answer]]:
        """The port AnsweredBefore: every answer shows at once."""
        members = {
            member.call_id
            for fact in self.facts(GroupMembersAdded)
            if isinstance(fact, GroupMembersAdded) and fact.group_id == group_id
            for member in fact.members
        }
        answers: dict[str, list[Answer]] = {}
        for event in self.events:
            fact = event.fact
            if not isinstance(fact, CallRequested) or event.stream_id not in members:
                continue
            end = await end_of(self, event.stream_id)
            if fact.request_hash in request_hashes and end is not None and isinstance(end.fact, CallAnswered):
                done = await stored_answer(self, end, end.fact)
                answers.setdefault(fact.request_hash, []).append(
                    Answer(
                        call_id=done.call_id,
                        status="success",
                        text=done.answer.text,
                        provider=fact.provider,
                        model=fact.model,
                        tokens=done.answer.tokens,
                        latency_ms=done.answer.latency_ms,
                        attempts=done.attempts,
                        position=done.position,
                        refused=is_refusal(done.answer.text_path, done.answer.finish_reason),
                    )
                )
        return answers

    def page(self, *, after: int, limit: int, until: int | None = None) -> list[RecordedEvent]:
        last = len(self.events) if until is None else until
        return [event for event in self.events if after < event.position <= last][:limit]

    def last_position(self) -> int:
        return len(self.events)

    def given(self, stream_id: UUID, *facts: Fact) -> None:
        """Put events into the past."""
        version = max((event.version for event in self.events if event.stream_id == stream_id), default=0)
        for step, fact in enumerate(facts, start=1):
            envelope = Envelope(START, "ada", "00000000000000a1", UUID(int=7))
            self._record(NewEvent(stream_id=stream_id, version=version + step, fact=fact, envelope=envelope))

    def facts(self, *fact_types: type[Fact]) -> list[Fact]:
        """What was recorded, in order; only of these types if some are given."""
        return [event.fact for event in self.events if not fact_types or isinstance(event.fact, fact_types)]

    def _record(self, new: NewEvent) -> None:
        for payload in new.payloads:
            self.payloads[new.stream_id, new.version, payload.part] = payload
        self.events.append(
            RecordedEvent(
                position=len(self.events) + 1,
                stream_id=new.stream_id,
                version=new.version,
                recorded_at=START,
                envelope=new.envelope,
                fact=new.fact,
            )
        )


class ListJournal:
    """The port Journal over a list, with its one file."""

    def __init__(self) -> None:
        self.kept: list[tuple[NewEvent, ...]] = []
        self.set_aside = 0
        self.full = False

    async def keep(self, entries: tuple[NewEvent, ...]) -> None:
        await asyncio.sleep(0)
        if self.full:
            raise Unavailable(f"What happened to call {entries[0].stream_id} can't be recorded")
        self.kept.append(entries)

    def holds(self, stream_id: UUID) -> bool:
        return any(entries[0].stream_id == stream_id for entries in self.kept)

    def files(self) -> Iterator[JournalFile]:
        yield self

    def entries(self) -> Iterator[tuple[NewEvent, ...]]:
        return iter(list(self.kept))

    def close(self, *, unplaced: int) -> bool:
        self.kept.clear()
        self.set_aside += unplaced
        return unplaced > 0


def notebook(
    store: ListStore,
    clock: SteppingClock | None = None,
    journal: ListJournal | None = None,
    process: str = "00000000000000a1",
) -> Notebook:
    """A notebook over a list."""
    return Notebook(store, journal or ListJournal(), clock=clock or SteppingClock(), ids=CountingIds(), process=process)
