"""A batch was committed and its acknowledgement was lost: it is sent again, and nothing lands twice."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import pytest

from application.ports import AppendConflict, Claim, ClaimHeld, Payload
from domain.sweeps import SweepResumed
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of
from tests.support.cut_line import CutLine

ONE, TWO = UUID(int=1), UUID(int=2)
ANSWER = b"appended"  # in the function's answer, and in no other


@pytest.fixture
def line(database: Database) -> Iterator[CutLine]:
    with CutLine(database.application_uri) as line:
        yield line


@pytest.fixture
def far_store(line: CutLine, keeper: Keeper) -> Iterator[PostgresEventStore]:
    """A store at the other end of a line that can be cut."""
    store = PostgresEventStore(line.uri, process=keeper.number)
    yield store
    store.close()


@pytest.mark.parametrize("times", [1, 3])
async def test_an_append_lands_once(line: CutLine, far_store: PostgresEventStore, times: int) -> None:
    payload = Payload(part="response", body=bytes(range(256)) * 40)
    line.lose_answers(ANSWER, times)
    assert await far_store.append(append_of(ONE, 1, None, payload)) == 1
    assert line.answers_to_lose == 0
    assert await far_store.append(append_of(TWO)) == 2
    assert [event.stream_id for event in far_store.page(after=0, limit=10)] == [ONE, TWO]
    assert await far_store.read_payload(ONE, 1, "response") == Payload(part="response", body=payload.body)


async def test_everybody_in_the_batch_is_told_what_became_of_it(line: CutLine, far_store: PostgresEventStore) -> None:
    await far_store.append(append_of(ONE))
    line.lose_answers(ANSWER)
    conflict = append_of(ONE, 1, SweepResumed(finished_steps=1))
    appends = [append_of() for _ in range(20)]
    results = await asyncio.gather(*map(far_store.append, [*appends, conflict]), return_exceptions=True)
    assert line.answers_to_lose == 0
    assert isinstance(results.pop(), AppendConflict)
    landed = [(event.stream_id, event.position) for event in far_store.page(after=1, limit=100)]
    assert landed == [(each.events[0].stream_id, result) for each, result in zip(appends, results, strict=True)]


async def test_a_claim_is_taken_and_freed_once(line: CutLine, far_store: PostgresEventStore) -> None:
    mine, theirs = Claim(key="k", holder=ONE), Claim(key="k", holder=TWO)
    line.lose_answers(ANSWER)
    await far_store.append(append_of(ONE, take=mine))
    with pytest.raises(ClaimHeld):
        await far_store.append(append_of(take=theirs))
    line.lose_answers(ANSWER)
    await far_store.append(append_of(ONE, 2, SweepResumed(finished_steps=1), free=(mine,)))
    assert line.answers_to_lose == 0
    await far_store.append(append_of(TWO, take=theirs))
    assert [(event.stream_id, event.version) for event in far_store.page(after=0, limit=10)] == [
        (ONE, 1),
        (ONE, 2),
        (TWO, 1),
    ]
