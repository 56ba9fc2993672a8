"""What happens to a call whose store goes away after its request was stored."""

import asyncio
from uuid import UUID

import pytest

from application.ask_model import Question
from application.ports import Append, NewEvent, Unacknowledged
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from application.replay_journal import Replayed, ReplayJournal
from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallFoundInDoubt, CallRequested
from domain.errors import ProviderFailed, Unavailable
from domain.events import Fact
from tests.support.asking import ask_model
from tests.support.facts import ENVELOPE, EXAMPLES
from tests.support.given_when_then import CONTEXT, START, ListJournal, ListStore, notebook
from tests.support.scripted_provider import ScriptedProvider, failure

ONE = UUID(int=1)
REQUESTED = next(fact for fact in EXAMPLES if isinstance(fact, CallRequested))
ANSWERED = next(fact for fact in EXAMPLES if isinstance(fact, CallAnswered))
DOUBT = CallFoundInDoubt(dead_process="00000000000000a1", first_seen_dead_at=START)


class Outage:
    """A store that goes away once the provider has been asked, and comes back when it is told to."""

    def __init__(self, *script: AttemptFailed, hangs: bool = False) -> None:
        self.store = ListStore()
        self.journal = ListJournal()
        self.provider = ScriptedProvider(script, hangs=hangs)
        book = notebook(self.store, journal=self.journal)
        self.ask = ask_model(book, self.store, self.provider)
        self.replay = ReplayJournal(self.store, self.journal)
        send = self.provider.send

        async def losing(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
            self.store.unavailable = True
            return await send(prepared, timeout_seconds=timeout_seconds)

        self.provider.send = losing  # type: ignore[method-assign]

    async def ends(self) -> list[type[Fact]]:
        """What the log says of everything, once the store is back."""
        self.store.unavailable = False
        await self.replay()
        return [type(fact) for fact in self.store.facts()]


async def test_an_answer_that_was_paid_for_is_returned_and_lands_later() -> None:
    outage = Outage()
    answer = await outage.ask(Question(prompt="Three primes?"), CONTEXT)
    assert (answer.text, answer.position) == ("echo: Three primes?", None)
    assert outage.store.facts(CallAnswered) == []
    assert await outage.ends() == [CallRequested, CallAnswered]
    response = await outage.store.read_payload(answer.call_id, 2, "response")
    assert response is not None
    assert b"echo: Three primes?" in (response.body or b"")


async def test_a_call_that_waits_goes_on_behind_its_earlier_facts_though_the_store_is_back() -> None:
    outage = Outage(failure())
    losing = outage.provider.send

    async def sending(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        again = bool(outage.journal.kept)
        try:
            return await losing(prepared, timeout_seconds=timeout_seconds)
        finally:
            if again:
                outage.store.unavailable = False

    outage.provider.send = sending  # type: ignore[method-assign]
    answer = await outage.ask(Question(prompt="?"), CONTEXT)
    assert answer.position is None
    assert outage.store.facts() == outage.store.facts(CallRequested)
    assert await outage.ends() == [CallRequested, CallAttemptFailed, CallAnswered]
    assert [event.version for event in outage.store.events] == [1, 2, 3]


async def test_a_failure_without_a_store_is_raised_and_lands_later() -> None:
    outage = Outage(failure(), failure(), failure())
    with pytest.raises(ProviderFailed, match="after 3 attempts"):
        await outage.ask(Question(prompt="?"), CONTEXT)
    assert await outage.ends() == [CallRequested, CallAttemptFailed, CallAttemptFailed, CallAttemptFailed, CallFailed]


async def test_a_call_that_is_cancelled_without_a_store_says_so_later() -> None:
    outage = Outage(hangs=True)
    task = asyncio.create_task(outage.ask(Question(prompt="?"), CONTEXT))
    while not outage.provider.sent:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await outage.ends() == [CallRequested, CallCancelled]


@pytest.mark.parametrize("steps", range(8))
async def test_a_caller_that_leaves_while_its_answer_is_kept_loses_nothing_and_doubles_nothing(steps: int) -> None:
    outage = Outage()
    task = asyncio.create_task(outage.ask(Question(prompt="?"), CONTEXT))
    while not outage.provider.sent:
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await outage.ends() == [CallRequested, CallAnswered]


@pytest.mark.parametrize("landed", [True, False])
async def test_a_request_that_was_never_confirmed_is_not_made_and_seen_to_end_if_it_landed(landed: bool) -> None:
    outage = Outage()
    append = outage.store.append

    async def unconfirmed(wanted: Append) -> int:
        if landed:
            await append(wanted)
        raise Unacknowledged("The event store can't be written: the line was cut")

    outage.store.append = unconfirmed  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="the line was cut"):
        await outage.ask(Question(prompt="?"), CONTEXT)
    outage.store.append = append  # type: ignore[method-assign]
    assert await outage.ends() == ([CallRequested, CallCancelled] if landed else [])
    assert outage.provider.sent == []


async def test_what_can_be_recorded_nowhere_is_said_to_be_lost() -> None:
    outage = Outage()
    outage.journal.full = True
    with pytest.raises(Unavailable, match="What happened to call"):
        await outage.ask(Question(prompt="?"), CONTEXT)


def entry(fact: Fact, version: int = 2) -> NewEvent:
    return NewEvent(stream_id=ONE, version=version, fact=fact, envelope=ENVELOPE)


async def replayed(*standing: Fact, kept: list[tuple[NewEvent, ...]]) -> tuple[list[tuple[int, Fact]], Replayed]:
    """Replay twice what was kept of a call of which this stands in the log."""
    store, journal = ListStore(), ListJournal()
    store.given(ONE, *standing)
    for _ in range(2):
        journal.kept = list(kept)
        last = await ReplayJournal(store, journal)()
    return [(event.version, event.fact) for event in store.events], last


async def test_replaying_again_changes_nothing() -> None:
    log, last = await replayed(REQUESTED, kept=[(entry(ANSWERED),)])
    assert log == [(1, REQUESTED), (2, ANSWERED)]
    assert last == Replayed(1, 0)


async def test_an_answer_whose_version_was_taken_by_a_doubt_stands_behind_it() -> None:
    log, _ = await replayed(REQUESTED, DOUBT, kept=[(entry(ANSWERED),)])
    assert log == [(1, REQUESTED), (2, DOUBT), (3, ANSWERED)]


async def test_events_of_one_entry_land_together_behind_a_doubt() -> None:
    attempt = next(fact for fact in EXAMPLES if isinstance(fact, CallAttemptFailed))
    failed = next(fact for fact in EXAMPLES if isinstance(fact, CallFailed))
    log, _ = await replayed(REQUESTED, DOUBT, kept=[(entry(attempt), entry(failed, 3))])
    assert log == [(1, REQUESTED), (2, DOUBT), (3, attempt), (4, failed)]


async def test_an_entry_whose_predecessor_was_damaged_leaves_no_hole() -> None:
    log, _ = await replayed(REQUESTED, kept=[(entry(ANSWERED, 3),)])
    assert log == [(1, REQUESTED), (2, ANSWERED)]


async def test_an_answer_to_a_request_that_this_store_never_had_is_set_aside() -> None:
    assert await replayed(kept=[(entry(ANSWERED),)]) == ([], Replayed(0, 1))


async def test_the_end_of_a_call_that_was_never_made_is_dropped_with_it() -> None:
    never_made = CallCancelled(attempts=0, reason="the store did not confirm its request", total_ms=0)
    log, last = await replayed(kept=[(entry(never_made),)])
    assert (log, last.set_aside) == ([], 0)
