import asyncio
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError

from application.ports import Append, AppendConflict, Claim, NewEvent, Payload
from domain.calls import CallRequested
from domain.errors import Rejected, Unavailable
from domain.events import UnknownStoredName
from domain.groups import GroupCreated
from domain.sweeps import SweepFailed, SweepResumed
from infrastructure.event_store import append_queue, patient_writer
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of
from tests.support.facts import ENVELOPE, EXAMPLES

ONE, TWO = UUID(int=1), UUID(int=2)


async def test_every_fact_comes_back_as_it_was_written(store: PostgresEventStore) -> None:
    for fact in EXAMPLES:
        await store.append(append_of(fact=fact))
    recorded = store.page(after=0, limit=1000)
    assert [event.fact for event in recorded] == list(EXAMPLES)
    assert [event.position for event in recorded] == list(range(1, len(EXAMPLES) + 1))
    assert {event.envelope for event in recorded} == {ENVELOPE}


async def test_bodies_come_back_byte_for_byte(store: PostgresEventStore) -> None:
    bodies = [b"", b"\x00\xff\xfe not utf-8", bytes(range(256)) * 40_000, random.Random(1).randbytes(10_000_001)]
    for number, body in enumerate(bodies, start=1):
        payload = Payload(part="response", body=body, vectors=body[:8] or None)
        await store.append(append_of(UUID(int=number), 1, None, payload))
    for number, body in enumerate(bodies, start=1):
        found = await store.read_payload(UUID(int=number), 1, "response")
        assert found == Payload(part="response", body=body, vectors=body[:8] or None)
    assert await store.read_payload(ONE, 1, "request") is None


async def test_the_same_bytes_again_are_a_success_and_written_once(store: PostgresEventStore) -> None:
    append = append_of(ONE, 1, None, Payload(part="request", body=b"{}"))
    assert await store.append(append) == await store.append(append) == 1
    assert len(store.page(after=0, limit=10)) == 1


async def test_a_conflict_fails_alone_in_its_batch(store: PostgresEventStore) -> None:
    await store.append(append_of(ONE))
    other = append_of(ONE, 1, SweepResumed(finished_steps=1))
    appends = [append_of(uuid4()) for _ in range(50)]
    results = await asyncio.gather(*map(store.append, [*appends[:25], other, *appends[25:]]), return_exceptions=True)
    assert [type(result) for result in results if not isinstance(result, int)] == [AppendConflict]
    assert len(store.page(after=0, limit=100)) == 51


async def test_one_of_two_appends_at_the_same_version_wins(store: PostgresEventStore) -> None:
    rivals = [append_of(ONE, 1, SweepResumed(finished_steps=number)) for number in range(20)]
    results = await asyncio.gather(*map(store.append, rivals), return_exceptions=True)
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, AppendConflict) for result in results) == 19


async def test_events_of_one_append_land_together_or_not_at_all(store: PostgresEventStore) -> None:
    await store.append(append_of(TWO))
    first = NewEvent(stream_id=ONE, version=1, fact=SweepResumed(finished_steps=1), envelope=ENVELOPE)
    clash = NewEvent(stream_id=TWO, version=1, fact=SweepResumed(finished_steps=1), envelope=ENVELOPE)
    with pytest.raises(AppendConflict):
        await store.append(Append(events=(first, clash)))
    assert await store.read_stream(ONE) == []


@pytest.mark.parametrize("twice", ["version", "claim"])
async def test_an_append_that_is_in_its_own_way_is_refused(store: PostgresEventStore, twice: str) -> None:
    """It would be sent again for ever."""
    first, second = (
        NewEvent(stream_id=ONE, version=1, fact=SweepResumed(finished_steps=steps), envelope=ENVELOPE)
        for steps in (1, 2)
    )
    claims = Claim(key="k", holder=ONE), Claim(key="k", holder=TWO)
    bad = Append(events=(first, second)) if twice == "version" else append_of(ONE, take=claims)
    with pytest.raises(Rejected, match="two events for one version of a stream, or takes a claim for two holders"):
        await asyncio.wait_for(store.append(bad), timeout=5)
    assert await store.append(append_of(ONE, take=claims[1])) == 1


async def test_appends_outlive_the_tasks_that_wanted_them(store: PostgresEventStore) -> None:
    task = asyncio.create_task(store.append(append_of(ONE)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.append(append_of(TWO))
    assert [event.stream_id for event in store.page(after=0, limit=10)] == [ONE, TWO]


async def test_callers_wait_while_the_queue_is_full(store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "QUEUE_APPENDS", 4)
    positions = await asyncio.gather(*(store.append(append_of()) for _ in range(200)))
    assert sorted(positions) == list(range(1, 201))


@pytest.mark.parametrize("bounded", [True, False])
def test_memory_stays_flat_when_far_more_is_wanted_than_can_be_written(database: Database, bounded: bool) -> None:
    """200 MB are appended at once; without the bound they would all stand in the queue."""
    queue_bytes = 16 * 1024 * 1024 if bounded else 2**40
    flood = (sys.executable, "-m", "tests.infrastructure.event_store.flood", database.application_uri, str(queue_bytes))
    here = Path(__file__).parents[3]
    grown = float(subprocess.run(flood, check=True, capture_output=True, text=True, cwd=here).stdout)
    assert grown < 110 if bounded else grown > 170


async def test_callers_that_leave_while_they_wait_hold_up_nobody(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "QUEUE_APPENDS", 4)
    tasks = [asyncio.create_task(store.append(append_of())) for _ in range(200)]
    await asyncio.sleep(0.001)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.exception() is None for task in tasks[1::2])
    await asyncio.wait_for(store.append(append_of()), timeout=5)


async def test_callers_whose_appends_are_refused_leave_their_places_to_the_next(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "QUEUE_APPENDS", 4)
    good, bad = append_of(), append_of(fact=SweepFailed(reason="\ud800"))
    results = await asyncio.wait_for(
        asyncio.gather(*map(store.append, [good] * 4 + [bad] * 8 + [good] * 4), return_exceptions=True), timeout=5
    )
    assert [type(result) for result in results] == [int] * 4 + [Rejected] * 8 + [int] * 4


async def test_nobody_waits_for_a_place_in_a_store_that_is_closed(
    database: Database, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "QUEUE_APPENDS", 4)
    closing = PostgresEventStore(database.application_uri, process=2)
    tasks = [asyncio.create_task(closing.append(append_of())) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.to_thread(closing.close)
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=5)
    assert {type(result) for result in results} == {int, Unavailable}
    assert len(store.page(after=0, limit=100)) == sum(isinstance(result, int) for result in results)


@pytest.mark.parametrize("key", ["a\0b", "\ud800", "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(3000))])
async def test_a_refused_event_fails_alone(store: PostgresEventStore, key: str) -> None:
    """A NUL, half a character, and a key that is too long for the index."""
    bad = append_of(take=Claim(key=key, holder=ONE))
    results = await asyncio.gather(
        store.append(append_of(ONE)), store.append(bad), store.append(append_of(TWO)), return_exceptions=True
    )
    assert [type(result) for result in results] == [int, Rejected, int]
    await store.append(append_of())


async def test_nul_bytes_and_half_characters_in_a_fact_are_no_matter(store: PostgresEventStore) -> None:
    await store.append(append_of(fact=SweepFailed(reason="a\0b")))
    with pytest.raises(Rejected, match="half a character"):
        await store.append(append_of(fact=SweepFailed(reason="\ud800")))
    assert [event.fact for event in store.page(after=0, limit=10)] == [SweepFailed(reason="a\0b")]


async def test_the_writer_survives_a_killed_connection(database: Database, store: PostgresEventStore) -> None:
    await store.append(append_of())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'study writer'"
        )
    await store.append(append_of())
    assert store.last_position() == 2


async def test_a_store_that_stays_away_is_said_to_be_unavailable(
    database: Database, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 0.2)
    with psycopg.connect(database.owner_uri) as blocker:
        blocker.execute("SET lock_timeout = 0")
        blocker.execute("SELECT pg_advisory_xact_lock(7453, 1)")
        with pytest.raises(Unavailable, match="can't be written"):
            await store.append(append_of())


def test_the_log_refuses_to_be_changed_even_by_its_owner(database: Database) -> None:
    statements = (
        "UPDATE events.events SET topic = 'x'",
        "DELETE FROM events.events",
        "TRUNCATE events.events",
        "UPDATE events.payloads SET part = 'x'",
        "DELETE FROM events.payloads",
        "TRUNCATE events.payloads",
    )
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "SELECT events.append(ARRAY[0], ARRAY[gen_random_uuid()], ARRAY[1::bigint], ARRAY['t'], ARRAY[''::bytea], "
            "ARRAY[1], ARRAY['p'], ARRAY[''::bytea], ARRAY[NULL::bytea], '{}', '{}', '{}', 1, '{}', '{}', '{}')"
        )
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                owner.execute(statement)


async def test_time_leads_to_a_position(store: PostgresEventStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    for _ in range(37):
        await store.append(append_of())
    events = store.page(after=0, limit=100)
    assert [event.recorded_at for event in events] == sorted(event.recorded_at for event in events)
    assert await store.position_at(before) == 0
    assert await store.position_at(events[16].recorded_at) == 17
    assert await store.position_at(datetime.now(UTC)) == 37


async def test_a_moment_that_has_passed_leads_to_one_position_though_a_writer_has_not_committed(
    database: Database, store: PostgresEventStore
) -> None:
    await store.append(append_of())
    with psycopg.connect(database.owner_uri) as writer:
        encoded = store.recorder.encode(append_of())
        (written,) = store.recorder.insert_appends(writer, [encoded], process=1)
        moment = datetime.now(UTC)
        asked = asyncio.create_task(store.position_at(moment))
        await asyncio.wait([asked], timeout=0.3)
        writer.commit()
    assert await asked == written == 2


async def test_an_unknown_stored_name_is_named(database: Database, store: PostgresEventStore) -> None:
    await store.append(append_of())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO events.events SELECT gen_random_uuid(), 1, 'call.dreamt.v9', state, 2, recorded_at "
            "FROM events.events"
        )
    with pytest.raises(UnknownStoredName, match=r"call\.dreamt\.v9"):
        store.page(after=0, limit=10)


async def test_the_librarys_own_way_in_keeps_the_order_and_finds_conflicts(store: PostgresEventStore) -> None:
    stored = [store.recorder.mapper.to_stored_event(event) for event in append_of(ONE).events]
    assert list(store.recorder.insert_events(stored) or []) == [1]
    other = [store.recorder.mapper.to_stored_event(e) for e in append_of(ONE, 1, SweepResumed(finished_steps=1)).events]
    with pytest.raises(IntegrityError):
        store.recorder.insert_events(other)
    assert [n.id for n in store.recorder.select_notifications(start=None, limit=10)] == [1]


async def test_a_store_knows_which_one_it_is(database: Database, store: PostgresEventStore) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        assert owner.execute("SELECT store_id FROM events.store").fetchall() == [(await store.identity(),)]
        for statement in ("UPDATE events.store SET store_id = gen_random_uuid()", "DELETE FROM events.store"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                owner.execute(statement)


def test_migrating_again_changes_nothing_and_a_newer_schema_is_refused(database: Database) -> None:
    migrate(database.owner_uri)
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("INSERT INTO events.schema_version (version) VALUES (99)")
    with pytest.raises(Unavailable, match="version 99"):
        migrate(database.owner_uri)


async def test_the_bodies_of_a_stream_come_back_together(store: PostgresEventStore) -> None:
    talk = uuid4()
    for version in (1, 2, 3):
        bodies = [Payload(part=part, body=f"{part} {version}".encode()) for part in ("messages", "other")]
        await store.append(append_of(talk, version, None, *(bodies if version > 1 else ())))
    found = await store.read_payloads(talk, "messages")
    assert {version: payload.body for version, payload in found.items()} == {2: b"messages 2", 3: b"messages 3"}
    assert await store.read_payloads(uuid4(), "messages") == {}


async def test_streams_are_known_by_the_fact_they_began_with(store: PostgresEventStore) -> None:
    call, group = uuid4(), uuid4()
    requested, created = (next(f for f in EXAMPLES if isinstance(f, kind)) for kind in (CallRequested, GroupCreated))
    await store.append(append_of(call, 1, requested))
    await store.append(append_of(group, 1, created))
    assert await store.begun_by([call, group, uuid4()], CallRequested) == {call}
    assert await store.begun_by([], CallRequested) == set()
