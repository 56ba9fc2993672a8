"""Read the exact bytes beside a call's events, and check them against the hashes that the events hold."""

from typing import Literal
from uuid import UUID

from msgspec import Struct, structs

from application.ports import EventStore
from domain.calls import CALL_FACTS, CallJoined, CallServedFromCache
from domain.errors import NotFound, Rejected, Unavailable
from domain.events import PayloadRef, RecordedEvent
from domain.identity import sha256_hex

Part = Literal["request", "response", "completion", "original"]
PARTS: tuple[Part, ...] = ("request", "response", "completion", "original")


class KeptBytes(Struct, frozen=True, kw_only=True):
    """One body beside an event: where it lies and what its event says of it.

    sha256_ok: whether the bytes that are stored have that hash; None for those that nobody looked at
    """

    call_id: UUID
    version: int
    part: str
    position: int
    sha256: str
    size: int
    media_type: str
    sha256_ok: bool | None = None


def refs_of(event: RecordedEvent) -> list[PayloadRef]:
    """What an event says of the bodies beside it."""
    fact = event.fact
    preprocessing = getattr(fact, "preprocessing", None)
    found = [getattr(fact, name, None) for name in ("request", "response", "completion", "messages")]
    found.append(None if preprocessing is None else preprocessing.original)
    return [ref for ref in found if isinstance(ref, PayloadRef)]


class ReadBytes:
    """Reads bodies of calls."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def parts(self, call_id: UUID, *, verify: bool = False, as_of: int | None = None) -> list[KeptBytes]:
        """Every body of a call, in order. Raises NotFound.

        verify: read each and compare its hash with the event's
        """
        events = await self._store.read_stream(call_id)
        events = [event for event in events if as_of is None or event.position <= as_of]
        if not events or not isinstance(events[0].fact, (*CALL_FACTS, CallJoined, CallServedFromCache)):
            raise NotFound(f"There is no call {call_id}{'' if as_of is None else f' at position {as_of}'}")
        found = [_kept(event, ref) for event in events for ref in refs_of(event)]
        if not verify:
            return found
        return [_checked(each, await self._body(each)) for each in found]

    async def content(
        self, call_id: UUID, part: str, *, version: int | None = None, as_of: int | None = None
    ) -> tuple[KeptBytes, bytes]:
        """A body and what is said of it: of one event, or the last one of this name.

        Raises NotFound, Rejected for an unknown part, Unavailable for bytes that are not what the event says.
        """
        if part not in PARTS:
            raise Rejected(f"{part[:40]!r} is no part of a call; use {', '.join(PARTS)}", fields=("part",))
        parts = await self.parts(call_id, as_of=as_of)
        named = [each for each in parts if each.part == part and version in (None, each.version)]
        if not named:
            there = ", ".join(f"{each.version}/{each.part}" for each in parts)
            raise NotFound(
                f"Call {call_id} has no {part}{'' if version is None else f' at version {version}'}; it has {there}"
            )
        body = await self._body(named[-1])
        checked = _checked(named[-1], body)
        if not checked.sha256_ok:
            raise Unavailable(
                f"The {part} of call {call_id} at version {checked.version} is not what was recorded: its SHA-256 is "
                f"not {checked.sha256}; somebody altered or removed it behind the log's back"
            )
        return checked, body or b""

    async def _body(self, kept: KeptBytes) -> bytes | None:
        payload = await self._store.read_payload(kept.call_id, kept.version, kept.part)
        return None if payload is None else payload.body


def _kept(event: RecordedEvent, ref: PayloadRef) -> KeptBytes:
    return KeptBytes(
        call_id=event.stream_id,
        version=event.version,
        part=ref.part,
        position=event.position,
        sha256=ref.sha256,
        size=ref.size,
        media_type=ref.media_type,
    )


def _checked(kept: KeptBytes, body: bytes | None) -> KeptBytes:
    return structs.replace(kept, sha256_ok=body is not None and sha256_hex(body) == kept.sha256)
