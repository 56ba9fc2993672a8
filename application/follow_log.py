"""Follow the log: every event behind a position that passes a filter, in order, as it comes.

One tail reads the log for all readers of a process. A reader that begins in the past reads for itself, at its own pace,
until it has come to where the tail is; from there on the tail hands it what passes. Positions may have holes, but none
is ever filled late, so that whoever has looked up to a position has seen all that will ever be there.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar
from uuid import UUID

import structlog
from msgspec import Struct

from application.audit_log import AuditLog, EventFilter, LogToLookThrough
from domain.errors import StudyError, TooMany, Unavailable
from domain.events import RecordedEvent
from domain.groups import GroupLinked, GroupMembersAdded, GroupMembersRemoved, GroupUnlinked

AT_ONCE = 500  # events of one look
MOST_WAITING = 5_000  # events that a reader may have to read still
MOST_READERS = 500
LOOK_SECONDS = 1.0  # between two looks, in case nothing wakes the tail
LATEST = 2**63 - 1

T = TypeVar("T")

log = structlog.get_logger(__name__)


class FellBehind(StudyError):
    """A reader took its events more slowly than they came, and was dropped."""


class FollowingEnded(StudyError):
    """Nobody follows the log any more; the text says why."""


class Seen(Struct, Generic[T], frozen=True):
    """Events that passed, perhaps none, and up to where the log was looked at."""

    events: tuple[T, ...]
    looked_to: int


class LogTail(Generic[T]):
    """Hands new events to all who follow the log. To be used from one event loop.

    as_seen: makes of an event what readers get, once for all of them
    shown: waits until the read models that tell what is about a thing show a position
    """

    def __init__(
        self,
        log_to_read: LogToLookThrough,
        audit: AuditLog,
        as_seen: Callable[[RecordedEvent], T],
        shown: Callable[[int], Awaitable[None]],
    ) -> None:
        self._log = log_to_read
        self._audit = audit
        self._as_seen = as_seen
        self._shown = shown
        self._readers: set[_Reader[T]] = set()
        self._recent: deque[tuple[RecordedEvent, T]] = deque()  # lately handed out, for who comes just now
        self._recent_after = 0
        self._position = 0
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._following = 0
        self._ended: FollowingEnded | None = None

    @property
    def readers(self) -> int:
        """How many follow the log now."""
        return self._following

    def check_room(self) -> None:
        """Whether one more may follow. Raises TooMany."""
        if self._following >= MOST_READERS:
            raise TooMany(
                f"{MOST_READERS} readers follow the log here, which is the most; try again later",
                retry_after_seconds=LOOK_SECONDS,
            )

    def wake(self) -> None:
        """There are new events; may be told from any thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed, so that nobody reads
                self._loop.call_soon_threadsafe(self._woken.set)

    async def follow(self, wanted: EventFilter, *, after: int, idle_seconds: float) -> AsyncIterator[Seen[T]]:
        """Events behind a position that pass, without end; when none come for a while, how far the log was looked at.

        Raises Rejected, Unavailable, TooMany; FellBehind for a slow reader, FollowingEnded when the tail is closed.
        """
        self.check_room()
        self._loop = asyncio.get_running_loop()
        self._following += 1
        reader = _Reader[T](wanted, after)
        try:
            caught_up = False
            while not (caught_up and self._join(reader)):
                if self._ended is not None:
                    raise self._ended
                until = await asyncio.to_thread(self._log.last_position)
                if wanted.entity is not None:
                    await self._shown(until)
                page = await self._audit.page(wanted, after=reader.looked_to, until=until, limit=AT_ONCE)
                reader.looked_to, caught_up = max(reader.looked_to, page.looked_to), page.at_end
                if page.events:
                    yield Seen(tuple(map(self._as_seen, page.events)), reader.looked_to)
            while True:
                yield await reader.next(idle_seconds)
        finally:
            self._following -= 1
            self._readers.discard(reader)

    def end(self, reason: str) -> None:
        """Let nobody follow any longer, and tell them why."""
        self._ended = FollowingEnded(reason)
        self._end_all(self._ended)

    def _join(self, reader: "_Reader[T]") -> bool:
        """Have the tail hand its events to a reader from here on, if none lies between them."""
        if self._ended is not None:
            return False
        if self._running is None or self._running.done():
            self._position = self._recent_after = reader.looked_to
            self._recent.clear()
            self._running = asyncio.create_task(self._run())
        elif reader.looked_to < self._recent_after:
            return False  # the tail has gone on meanwhile: read a little more
        reader.take(list(self._recent), self._position)
        self._readers.add(reader)
        return True

    async def _run(self) -> None:
        while self._readers:
            self._woken.clear()
            try:
                events = await self._log.look(after=self._position, until=LATEST, limit=AT_ONCE)
            except Unavailable as error:
                log.debug("the log's tail waits for the store", reason=str(error))
                await asyncio.sleep(LOOK_SECONDS)
                continue
            except StudyError as error:  # such as an event that a newer version wrote
                self._end_all(error)
                return
            except Exception as error:
                log.error("the log's tail can't go on", exc_info=error)
                self._end_all(FollowingEnded("The log can't be followed just now; the server's log tells why"))
                return
            if events:
                self._hand_out(events)
            if len(events) < AT_ONCE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), LOOK_SECONDS)

    def _hand_out(self, events: Sequence[RecordedEvent]) -> None:
        fresh = [(event, self._as_seen(event)) for event in events]
        self._position = events[-1].position
        self._recent.extend(fresh)
        while len(self._recent) > AT_ONCE:
            self._recent_after = self._recent.popleft()[0].position
        for reader in list(self._readers):
            if not reader.take(fresh, self._position):
                self._readers.discard(reader)

    def _end_all(self, error: StudyError) -> None:
        for reader in list(self._readers):
            reader.ended(error)
        self._readers.clear()


class _Reader(Generic[T]):
    """One who follows: what passes for them, and what they have not taken yet."""

    def __init__(self, wanted: EventFilter, after: int) -> None:
        self.looked_to = after
        self._passes = passing(wanted)
        self._waiting: deque[tuple[int, T]] = deque()
        self._ready = asyncio.Event()
        self._error: StudyError | None = None

    def take(self, events: Sequence[tuple[RecordedEvent, T]], looked_to: int) -> bool:
        """Keep what passes until it is taken; False for a reader who is dropped, since it can't keep up."""
        for event, seen in events:
            if event.position > self.looked_to and self._passes(event):
                self._waiting.append((event.position, seen))
        self.looked_to = max(self.looked_to, looked_to)
        if len(self._waiting) > MOST_WAITING:
            self.ended(
                FellBehind(f"More than {MOST_WAITING:,} events came that were not read; go on from the last one read")
            )
            return False
        if self._waiting:
            self._ready.set()
        return True

    def ended(self, error: StudyError) -> None:
        """Nothing more comes, for a reason; what waits is given up when the reader was too slow."""
        self._error = error
        if isinstance(error, FellBehind):
            self._waiting.clear()
        self._ready.set()

    async def next(self, idle_seconds: float) -> Seen[T]:
        """All that waits, or nothing after a while. Raises what ended it."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), idle_seconds)
        if not self._waiting and self._error is not None:
            raise self._error
        if self._error is None:
            self._ready.clear()
        events = tuple(seen for _, seen in self._waiting)
        self._waiting.clear()
        return Seen(events, self.looked_to)


def passing(wanted: EventFilter) -> Callable[[RecordedEvent], bool]:
    """What a filter lets through, as a test of one event."""
    names, entity, since, until = wanted.current_names(), wanted.entity, wanted.since, wanted.until

    def passes(event: RecordedEvent) -> bool:
        return (
            (names is None or event.fact.stored_name in names)
            and wanted.passes(event)
            and (entity is None or is_about(event, entity))
            and (since is None or event.recorded_at >= since)
            and (until is None or event.recorded_at < until)
        )

    return passes


def is_about(event: RecordedEvent, entity: UUID) -> bool:
    """Whether an event is of a thing's own stream, or of its members, its groups or its links."""
    if event.stream_id == entity:
        return True
    match event.fact:
        case GroupMembersAdded(group_id=group_id, members=members):
            return group_id == entity or any(member.call_id == entity for member in members)
        case GroupMembersRemoved(group_id=group_id, call_ids=call_ids):
            return group_id == entity or entity in call_ids
        case GroupLinked() | GroupUnlinked() as link:
            return entity in (link.parent_group_id, link.child_group_id)
    return False
