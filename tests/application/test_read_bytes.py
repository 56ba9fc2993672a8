from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Append, NewEvent, Payload
from application.read_bytes import ReadBytes
from domain.errors import NotFound, Rejected, Unavailable
from domain.events import Envelope, Fact
from domain.groups import GroupCreated
from tests.projections.log import COMPLETION, NOON, REQUEST, RESPONSE, STREAM, answered, broke_off, requested
from tests.support.given_when_then import ListStore

CALL = UUID(int=1)


async def store_with(*entries: tuple[Fact, tuple[Payload, ...]]) -> ListStore:
    store = ListStore()
    for version, (fact, payloads) in enumerate(entries, start=1):
        envelope = Envelope(NOON, "ada", "a1", UUID(int=7))
        event = NewEvent(stream_id=CALL, version=version, fact=fact, envelope=envelope, payloads=payloads)
        await store.append(Append(events=(event,)))
    return store


async def a_call() -> ListStore:
    """A stream that broke off, and then an answer."""
    return await store_with(
        (requested(), (REQUEST,)), (broke_off(), (STREAM, COMPLETION)), (answered(attempt=2), (RESPONSE,))
    )


async def test_every_body_of_a_call_is_named_with_its_hash() -> None:
    parts = await ReadBytes(await a_call()).parts(CALL)
    assert [(part.version, part.part) for part in parts] == [
        (1, "request"), (2, "response"), (2, "completion"), (3, "response"),
    ]  # fmt: skip
    assert parts[0].sha256 == REQUEST.ref().sha256
    assert [part.sha256_ok for part in parts] == [None] * 4


async def test_the_last_body_of_a_name_is_read_or_that_of_one_event() -> None:
    read = ReadBytes(await a_call())
    kept, body = await read.content(CALL, "response")
    assert (kept.version, body, kept.sha256_ok) == (3, RESPONSE.body, True)
    kept, body = await read.content(CALL, "response", version=2)
    assert (body, kept.media_type) == (STREAM.body, "text/event-stream")
    kept, _ = await read.content(CALL, "response", as_of=2)
    assert kept.version == 2


async def test_bytes_that_were_altered_or_removed_are_told_and_not_handed_out() -> None:
    store = await a_call()
    store.payloads[CALL, 1, "request"] = replace(REQUEST, body=b"something else")
    del store.payloads[CALL, 2, "completion"]
    read = ReadBytes(store)
    assert [part.sha256_ok for part in await read.parts(CALL, verify=True)] == [False, True, False, True]
    for part in ("request", "completion"):
        with pytest.raises(Unavailable, match="is not what was recorded"):
            await read.content(CALL, part)


async def test_what_is_not_there_is_not_found_and_what_cannot_be_is_rejected() -> None:
    read = ReadBytes(await a_call())
    with pytest.raises(NotFound, match="it has 1/request, 2/response, 2/completion, 3/response"):
        await read.content(CALL, "response", version=1)
    with pytest.raises(Rejected, match="request, response, completion, original"):
        await read.content(CALL, "vectors")
    with pytest.raises(NotFound, match="no call"):
        await read.parts(UUID(int=2))
    with pytest.raises(NotFound, match="at position 0"):
        await read.parts(CALL, as_of=0)
    others = await store_with((GroupCreated(group_type="run", name="r"), ()))
    with pytest.raises(NotFound, match="no call"):
        await ReadBytes(others).parts(CALL)
