"""Given a log that grows, then each reader gets what passes, in order, none left out, none twice, or is told why."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from application import follow_log
from application.audit_log import AuditLog, EventFilter
from application.follow_log import FellBehind, FollowingEnded, LogTail, Seen, is_about, passing
from domain.calls import CallFailed, CallRequested
from domain.errors import TooMany, Unavailable
from domain.events import RecordedEvent, UnknownStoredName
from domain.groups import GroupCreated, GroupLinked, GroupMembersAdded, GroupMembersRemoved, GroupUnlinked
from tests.support.facts import EXAMPLES, ID, OTHER_ID
from tests.support.given_when_then import START, ListStore

BY_TYPE = {type(fact): fact for fact in EXAMPLES}
CREATED, REQUESTED = BY_TYPE[GroupCreated], BY_TYPE[CallRequested]
QUICK = 0.02  # seconds without events, after which a reader is told so


class GrowingLog(ListStore):
    """The port LogToLookThrough over a list, whose looks are counted and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.trouble: Exception | None = None

    async def look(
        self, *, after: int, until: int, limit: int, names: Sequence[str] | None = None
    ) -> list[RecordedEvent]:
        self.looks += 1
        await asyncio.sleep(0)
        if self.trouble is not None:
            raise self.trouble
        found = [event for event in self.events if after < event.position <= until]
        return [event for event in found if names is None or event.fact.stored_name in names][:limit]

    async def look_at(self, stream_id: UUID, positions: Sequence[int], **bounds: Any) -> list[RecordedEvent]:
        raise NotImplementedError

    async def position_at(self, moment: datetime) -> int:
        return len(self.events) if moment >= START else 0

    async def positions_about(self, entity_id: UUID, **bounds: Any) -> list[int]:
        raise NotImplementedError

    def grow(self, count: int) -> None:
        for number in range(count):
            self.given(UUID(int=len(self.events) + 1), (CREATED, REQUESTED)[number % 2])


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog()


@pytest.fixture
def tail(log: GrowingLog) -> LogTail[int]:
    async def shown(position: int) -> None:
        raise AssertionError("no reader asks for one thing")

    return LogTail(log, AuditLog(log, log), lambda event: event.position, shown)


def follow(tail: LogTail[int], *, after: int = 0, **filters: Any) -> AsyncIterator[Seen[int]]:
    return tail.follow(EventFilter(**filters), after=after, idle_seconds=QUICK)


async def read(follower: AsyncIterator[Seen[int]], count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        found += (await anext(follower)).events
    return found


async def test_a_reader_gets_the_past_and_then_what_comes(log: GrowingLog, tail: LogTail[int]) -> None:
    log.grow(2 * follow_log.AT_ONCE + 10)
    follower = follow(tail, after=5)
    assert await read(follower, 1005) == list(range(6, 1011))
    log.grow(3)
    tail.wake()
    assert await read(follower, 3) == [1011, 1012, 1013]
    assert await anext(follower) == Seen((), 1013)  # after a while without any


async def test_readers_share_the_looks_at_what_is_new(log: GrowingLog, tail: LogTail[int]) -> None:
    followers = [follow(tail) for _ in range(20)]
    for follower in followers:
        await anext(follower)
    assert tail.readers == 20
    before = log.looks
    log.grow(50)
    tail.wake()
    assert await asyncio.gather(*(read(follower, 50) for follower in followers)) == [list(range(1, 51))] * 20
    assert log.looks - before <= 3


async def test_readers_that_come_while_the_log_grows_miss_nothing(log: GrowingLog, tail: LogTail[int]) -> None:
    async def write() -> None:
        for _ in range(200):
            log.grow(7)
            tail.wake()
            await asyncio.sleep(0)

    async def come_and_read(number: int) -> list[int]:
        await asyncio.sleep(number / 1000)
        return await read(follow(tail, after=number), 1400 - number)

    writing = asyncio.create_task(write())
    found = await asyncio.gather(*map(come_and_read, range(0, 40, 4)))
    await writing
    assert found == [list(range(number + 1, 1401)) for number in range(0, 40, 4)]


async def test_only_what_passes_comes_and_the_place_moves_on(log: GrowingLog, tail: LogTail[int]) -> None:
    log.grow(10)
    follower = follow(tail, kind="group")
    assert await read(follower, 5) == [1, 3, 5, 7, 9]
    log.grow(10)
    tail.wake()
    assert await read(follower, 5) == [11, 13, 15, 17, 19]
    assert await anext(follower) == Seen((), 20)


async def test_a_reader_who_does_not_read_is_dropped_with_a_reason(
    log: GrowingLog, tail: LogTail[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_log, "MOST_WAITING", 100)
    slow, quick = follow(tail), follow(tail)
    await anext(slow)
    await anext(quick)
    for _ in range(3):
        log.grow(50)
        tail.wake()
        await read(quick, 50)
    log.grow(1)
    tail.wake()
    assert await read(quick, 1) == [151]
    with pytest.raises(FellBehind, match="not read"):
        await anext(slow)
    assert tail.readers == 1
    again = follow(tail, after=0)  # it goes on where it was
    assert await read(again, 151) == list(range(1, 152))


async def test_an_ended_tail_tells_its_readers_why_and_takes_no_others(log: GrowingLog, tail: LogTail[int]) -> None:
    follower = follow(tail)
    await anext(follower)
    log.grow(3)
    tail.wake()
    assert await read(follower, 3) == [1, 2, 3]
    tail.end("SIGTERM stopped the process")
    for each in (follower, follow(tail)):
        with pytest.raises(FollowingEnded, match="SIGTERM"):
            await anext(each)
    assert tail.readers == 0


async def test_trouble_with_the_store_is_waited_for(
    log: GrowingLog, tail: LogTail[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_log, "LOOK_SECONDS", QUICK)
    follower = follow(tail)
    await anext(follower)
    log.trouble = Unavailable("away")
    log.grow(2)
    tail.wake()
    assert await anext(follower) == Seen((), 0)
    log.trouble = None
    assert await read(follower, 2) == [1, 2]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (UnknownStoredName("of a newer version"), (UnknownStoredName, "newer")),
        (ZeroDivisionError("a defect"), (FollowingEnded, "log tells why")),
    ],
)
async def test_a_tail_that_can_not_go_on_says_so(
    log: GrowingLog, tail: LogTail[int], trouble: Exception, told: tuple[type[Exception], str]
) -> None:
    follower = follow(tail)
    await anext(follower)
    log.trouble = trouble
    tail.wake()
    with pytest.raises(told[0], match=told[1]):
        await read(follower, 1)
    log.trouble = None
    log.grow(1)
    assert await read(follow(tail), 1) == [1]


async def test_there_are_only_so_many_readers(tail: LogTail[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_log, "MOST_READERS", 1)
    first = follow(tail)
    await anext(first)
    with pytest.raises(TooMany):
        await anext(follow(tail))
    await first.aclose()  # type: ignore[attr-defined]
    await anext(follow(tail))


def test_an_event_is_about_its_stream_its_members_and_its_links() -> None:
    def event(fact: Any) -> RecordedEvent:
        store = ListStore()
        store.given(UUID(int=9), fact)
        return store.events[0]

    nobody = UUID(int=1)
    for fact, about in (
        (BY_TYPE[CallFailed], [UUID(int=9)]),
        (BY_TYPE[GroupMembersAdded], [UUID(int=9), ID, OTHER_ID]),
        (BY_TYPE[GroupMembersRemoved], [UUID(int=9), ID, OTHER_ID]),
        (BY_TYPE[GroupLinked], [UUID(int=9), ID, OTHER_ID]),
        (BY_TYPE[GroupUnlinked], [UUID(int=9), ID, OTHER_ID]),
    ):
        assert all(is_about(event(fact), each) for each in about), fact
        assert not is_about(event(fact), nobody), fact
    passes = passing(EventFilter(event="call.failed", until=START))
    assert not passes(event(BY_TYPE[CallFailed]))
    assert passing(EventFilter(event="call.failed", since=START))(event(BY_TYPE[CallFailed]))
