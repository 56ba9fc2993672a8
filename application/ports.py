"""What use cases need from outside: the store, the clock, ids and files. Providers have a port of their own."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol
from uuid import UUID

from msgspec import Struct

from application.providers import ClientsRequest, Passage, Provider
from domain.errors import Conflict, Unavailable
from domain.events import Envelope, Fact, PayloadRef, RecordedEvent
from domain.identity import sha256_hex
from domain.preprocessing import Tokenizer


class Payload(Struct, frozen=True, kw_only=True):
    """A body that lies beside an event: raw bytes, a float32 block, or both."""

    part: str
    body: bytes | None = None
    vectors: bytes | None = None  # little-endian float32, row-major
    media_type: str = "application/octet-stream"
    is_json: bool = False

    def ref(self) -> PayloadRef:
        """What the event holds of this body."""
        body = self.body or b""
        return PayloadRef(
            part=self.part,
            sha256=sha256_hex(body),
            size=len(body),
            media_type=self.media_type,
            is_json=self.is_json,
        )


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event on its way to the store."""

    stream_id: UUID
    version: int
    fact: Fact
    envelope: Envelope
    payloads: tuple[Payload, ...] = ()


class Claim(Struct, frozen=True, kw_only=True, gc=False):
    """Sole right to do something (`key`), held by a stream for as long as its process lives."""

    key: str
    holder: UUID


class Append(Struct, frozen=True, kw_only=True):
    """Events that land together or not at all; claims taken with them, all or none, or claims freed."""

    events: tuple[NewEvent, ...]
    take: tuple[Claim, ...] = ()
    free: tuple[Claim, ...] = ()


class AppendConflict(Conflict):
    """Another event already stands at one of these versions."""


class ClaimHeld(Conflict):
    """A live process holds one of the claims; `holder` names whose it is."""

    def __init__(self, message: str, *, holder: UUID) -> None:
        super().__init__(message, existing_id=str(holder))
        self.holder = holder


class Unacknowledged(Unavailable):
    """The store went away before it said whether an append landed."""


class EventStore(Protocol):
    """The append-only log."""

    async def append(self, append: Append) -> int:
        """Make the events durable and return the last one's position.

        Appending the very same bytes again is a success. Raises AppendConflict, ClaimHeld, Unavailable, and
        Unacknowledged when the append may have landed all the same.
        """

    async def read_stream(self, stream_id: UUID, *, after_version: int = 0) -> Sequence[RecordedEvent]:
        """The events of one stream, in order."""

    async def begun_by(self, stream_ids: Sequence[UUID], fact_type: type[Fact]) -> set[UUID]:
        """Those of the streams that there are and whose first event is such a fact."""

    async def read_payload(self, stream_id: UUID, version: int, part: str) -> Payload | None:
        """One body. `media_type` and `is_json` are the event's to tell."""

    async def read_payloads(self, stream_id: UUID, part: str) -> Mapping[int, Payload]:
        """The bodies of one name beside all events of a stream, by the events' versions."""


class JournalFile(Protocol):
    """What one process could not store, in the order in which it happened."""

    def entries(self) -> Iterator[tuple[NewEvent, ...]]:
        """Events of one stream that land together; what can't be read is left out."""

    def close(self, *, unplaced: int) -> bool:
        """Forget what was read: all of it is durable in the store now, but for `unplaced` entries.

        Returns whether something was left over; such a file is set aside whole, for a person to look at.
        """


class Journal(Protocol):
    """Where facts that nobody could tell again wait, durable on this machine, while the store is away."""

    async def keep(self, entries: tuple[NewEvent, ...]) -> None:
        """Make events of one stream durable. Raises Unavailable naming the stream."""

    def holds(self, stream_id: UUID) -> bool:
        """Whether this process's entries for a stream still wait: later ones must wait behind them."""

    def files(self) -> Iterator[JournalFile]:
        """This process's file and those of dead processes, each in nobody else's hands while it is looked at."""


class Clock(Protocol):
    """The time of day and of a stop-watch."""

    def now(self) -> datetime:
        """The time of day, with zone UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Ids(Protocol):
    """New identities."""

    def new(self) -> UUID:
        """A UUIDv7: time-ordered, so that the index grows at one end."""


class ProviderDirectory(Protocol):
    """The providers that can be asked."""

    def create(self, name: str | None) -> Provider:
        """The named provider, or the default one. Raises Rejected naming the known ones or the missing setting."""


class PassageDirectory(ProviderDirectory, Protocol):
    """The providers to which a client's own requests can be passed on."""

    def known(self) -> Sequence[str]:
        """Every name there is, configured or not."""

    def configured(self) -> Sequence[str]:
        """The names that can be asked, the preferred ones first."""

    def passage(self, provider: Provider, request: ClientsRequest) -> Passage:
        """A way for a client's request: byte for byte where the provider speaks OpenAI's protocol, else by way of its
        own words. Raises Rejected for what the provider can't be asked.
        """


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file where artifacts lie. A leftover is what somebody who died while writing has left there."""

    sha256: str
    size: int
    modified_at: datetime
    place: str  # as its keeper finds it again
    is_leftover: bool = False


class ArtifactFiles(Protocol):
    """Where the bytes of artifacts lie, by their hash."""

    async def keep(self, content: bytes | BinaryIO) -> str:
        """Make the bytes, or those of an open file, durable under their SHA-256 and return it.

        Keeping them again changes nothing but the file's time. Raises Unavailable.
        """

    async def holds(self, sha256: str) -> bool:
        """Whether the file is there."""

    async def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, or Unavailable when they were altered."""

    async def read_range(self, sha256: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`, unchecked: a part has no hash. Raises NotFound, Unavailable."""

    def all(self) -> AsyncIterator[Sequence[StoredFile]]:
        """Every file there is, some at a time. Raises Unavailable."""

    async def set_aside(self, file: StoredFile) -> StoredFile | None:
        """Take a file out of everybody's sight; None when it is gone, or newer than it was. Raises Unavailable."""

    async def put_back(self, aside: StoredFile) -> None:
        """Undo `set_aside`."""

    async def remove(self, aside: StoredFile) -> None:
        """Remove a file that was set aside."""


class EventPages(Protocol):
    """The log as projections read it: in order, page by page, from any thread."""

    def page(self, *, after: int, limit: int, until: int | None = None) -> list[RecordedEvent]:
        """At most `limit` events with a position in (after, until], in order."""

    def last_position(self) -> int:
        """The newest position, 0 for an empty log."""


class Tokenizers(Protocol):
    """What counts tokens, by model."""

    def for_model(self, model: str) -> Tokenizer:
        """The tokenizer of a model, or a common one for a model nobody knows. Raises Rejected when it can't be had."""
