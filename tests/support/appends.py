"""Appends for tests of the store."""

from uuid import UUID, uuid4

from application.ports import Append, Claim, NewEvent, Payload
from domain.events import Envelope, Fact
from domain.sweeps import SweepFailed
from tests.support.facts import ENVELOPE


def append_of(
    stream_id: UUID | None = None,
    version: int = 1,
    fact: Fact | None = None,
    *payloads: Payload,
    envelope: Envelope = ENVELOPE,
    take: Claim | tuple[Claim, ...] = (),
    free: tuple[Claim, ...] = (),
) -> Append:
    """One event on its way."""
    event = NewEvent(
        stream_id=stream_id or uuid4(),
        version=version,
        fact=fact or SweepFailed(reason="an example"),
        envelope=envelope,
        payloads=payloads,
    )
    return Append(events=(event,), take=(take,) if isinstance(take, Claim) else take, free=free)
