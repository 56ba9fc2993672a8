"""Claims: one holder at a time, none that a dead process keeps, none that is stolen from a live one."""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports import Append, AppendConflict, Claim, ClaimHeld
from domain.sweeps import SweepResumed
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of

ONE, TWO = UUID(int=1), UUID(int=2)


async def until_dead(database: Database, process: int) -> None:
    """A closed connection's backend may live a moment longer, and its lock with it."""
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        while owner.execute("SELECT events.is_alive(%s)", (process,)).fetchone() != (False,):
            await asyncio.sleep(0.01)


async def test_a_claim_is_held_until_it_is_freed(store: PostgresEventStore) -> None:
    mine, theirs = Claim(key="sweep:1", holder=ONE), Claim(key="sweep:1", holder=TWO)
    await store.append(append_of(take=mine))
    with pytest.raises(ClaimHeld) as held:
        await store.append(append_of(take=theirs))
    assert held.value.holder == ONE
    await store.append(append_of(free=(mine,)))
    await store.append(append_of(take=theirs))


async def test_nobody_frees_anothers_claim(store: PostgresEventStore) -> None:
    await store.append(append_of(take=Claim(key="k", holder=ONE)))
    await store.append(append_of(free=(Claim(key="k", holder=TWO),)))
    with pytest.raises(ClaimHeld):
        await store.append(append_of(take=Claim(key="k", holder=TWO)))


async def test_an_append_in_conflict_takes_no_claim(store: PostgresEventStore) -> None:
    await store.append(append_of(ONE))
    with pytest.raises(AppendConflict):
        await store.append(append_of(ONE, 1, SweepResumed(finished_steps=1), take=Claim(key="k", holder=ONE)))
    await store.append(append_of(take=Claim(key="k", holder=TWO)))


async def test_one_of_many_that_want_a_claim_at_once_gets_it(store: PostgresEventStore) -> None:
    wishes = [append_of(take=Claim(key="k", holder=uuid4())) for _ in range(50)]
    results = await asyncio.gather(*map(store.append, wishes), return_exceptions=True)
    (winner,) = [wish for wish, result in zip(wishes, results, strict=True) if isinstance(result, int)]
    assert {result.holder for result in results if isinstance(result, ClaimHeld)} == {winner.take[0].holder}


async def test_who_waits_behind_a_conflict_in_the_same_batch_gets_the_claim(store: PostgresEventStore) -> None:
    """Nobody is told to join a holder whose own append came to nothing."""
    await store.append(append_of(ONE))
    lost = append_of(ONE, 1, SweepResumed(finished_steps=1), take=Claim(key="k", holder=ONE))
    behind = append_of(take=Claim(key="k", holder=TWO))
    results = await asyncio.gather(store.append(lost), store.append(behind), return_exceptions=True)
    assert [type(result) for result in results] == [AppendConflict, int]


async def test_a_dead_processs_claim_can_be_taken(database: Database, store: PostgresEventStore) -> None:
    dying = Keeper(database.application_uri, on_event=lambda: None)
    theirs = PostgresEventStore(database.application_uri, process=dying.number)
    await theirs.append(append_of(take=Claim(key="k", holder=ONE)))
    with pytest.raises(ClaimHeld):
        await store.append(append_of(take=Claim(key="k", holder=TWO)))
    theirs.close()
    dying.close()
    await until_dead(database, dying.number)
    await store.append(append_of(take=Claim(key="k", holder=TWO)))


async def test_many_dead_claims_are_taken_in_one_batch(database: Database, store: PostgresEventStore) -> None:
    theirs = PostgresEventStore(database.application_uri, process=999)  # no keeper: dead from the start
    await asyncio.gather(*(theirs.append(append_of(take=Claim(key=f"k{n}", holder=ONE))) for n in range(50)))
    theirs.close()
    await asyncio.gather(*(store.append(append_of(take=Claim(key=f"k{n}", holder=TWO))) for n in range(50)))
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT DISTINCT holder FROM events.claims").fetchall() == [(TWO,)]


async def test_a_process_that_lost_its_keeper_still_honours_its_own_claims(database: Database) -> None:
    lost = PostgresEventStore(database.application_uri, process=999)  # it has no lock just now
    await lost.append(append_of(take=Claim(key="k", holder=ONE)))
    with pytest.raises(ClaimHeld):
        await lost.append(append_of(take=Claim(key="k", holder=TWO)))
    lost.close()


async def test_while_a_claim_is_stolen_its_old_process_cannot_come_back(
    database: Database, store: PostgresEventStore
) -> None:
    """Between the look and the commit the thief has the dead process's lock: coming back waits for the outcome."""
    dead = PostgresEventStore(database.application_uri, process=999)
    await dead.append(append_of(take=Claim(key="k", holder=ONE)))
    dead.close()
    with psycopg.connect(database.application_uri) as thief, psycopg.connect(database.application_uri) as back:
        encoded = store.recorder.encode(append_of(take=Claim(key="k", holder=TWO)))
        assert store.recorder.insert_appends(thief, [encoded], process=1) == [2]
        assert back.execute("SELECT pg_try_advisory_lock(999)").fetchone() == (False,)
        thief.commit()
        assert back.execute("SELECT pg_try_advisory_lock(999)").fetchone() == (True,)


async def test_what_has_landed_is_a_success_though_its_claim_is_gone(
    database: Database, store: PostgresEventStore
) -> None:
    """The acknowledgement was lost, the process was taken for dead, its claim was stolen; then it asks again."""
    first = PostgresEventStore(database.application_uri, process=999)  # it has no lock just now
    append = append_of(ONE, take=Claim(key="k", holder=ONE))
    position = await first.append(append)
    await store.append(append_of(TWO, take=Claim(key="k", holder=TWO)))
    assert await first.append(append) == position
    first.close()


async def test_a_claim_alone_is_taken_and_freed_at_a_position_that_there_is(store: PostgresEventStore) -> None:
    stands = await store.append(append_of())
    claim, other = Claim(key="conversation:1", holder=uuid4()), Claim(key="conversation:1", holder=uuid4())
    taken, *landed = await asyncio.gather(
        store.append(Append(events=(), take=(claim,))), *(store.append(append_of()) for _ in range(3))
    )
    assert stands <= taken < max(landed)
    with pytest.raises(ClaimHeld) as held:
        await store.append(Append(events=(), take=(other,)))
    assert held.value.holder == claim.holder
    await store.append(Append(events=(), free=(claim,)))
    assert await store.append(Append(events=(), take=(other,))) == max(landed) == store.last_position()


def claims_of(holder: UUID, *keys: str) -> tuple[Claim, ...]:
    return tuple(Claim(key=key, holder=holder) for key in keys)


async def test_of_several_claims_an_append_has_all_or_none(database: Database, store: PostgresEventStore) -> None:
    await store.append(append_of(take=claims_of(ONE, "a", "b")))
    with pytest.raises(ClaimHeld) as held:
        await store.append(append_of(TWO, take=claims_of(TWO, "x", "b", "a", "y")))
    assert held.value.holder == ONE
    assert await store.read_stream(TWO) == []
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT key FROM events.claims ORDER BY key").fetchall() == [("a",), ("b",)]
    await store.append(append_of(free=claims_of(ONE, "a", "b")))
    await store.append(append_of(TWO, take=claims_of(TWO, "x", "b", "a", "y")))


async def test_who_is_refused_steals_nothing_either(database: Database, store: PostgresEventStore) -> None:
    theirs = PostgresEventStore(database.application_uri, process=999)  # no keeper: dead from the start
    await theirs.append(append_of(take=claims_of(ONE, "dead")))
    theirs.close()
    await store.append(append_of(take=claims_of(ONE, "alive")))
    with pytest.raises(ClaimHeld):
        await store.append(append_of(take=claims_of(TWO, "dead", "alive")))
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT key FROM events.claims WHERE holder = %s", (TWO,)).fetchall() == []


async def test_of_appends_that_want_overlapping_claims_at_once_some_land_and_the_rest_are_told_whose(
    store: PostgresEventStore,
) -> None:
    wishes = [append_of(take=claims_of(uuid4(), f"k{n}", f"k{n + 1}", f"k{n + 2}")) for n in range(60)]
    results = await asyncio.gather(*map(store.append, wishes), return_exceptions=True)
    landed = {
        wish.take[0].holder: wish.take for wish, result in zip(wishes, results, strict=True) if type(result) is int
    }
    keys = [claim.key for take in landed.values() for claim in take]
    assert len(keys) == len({*keys})
    assert {result.holder for result in results if isinstance(result, ClaimHeld)} <= {*landed}
    assert len(landed) + sum(isinstance(result, ClaimHeld) for result in results) == 60
