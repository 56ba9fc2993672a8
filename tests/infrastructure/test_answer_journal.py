"""What is kept in a journal lands exactly once, wherever its writer, its replayer or the disk failed."""

import asyncio
import errno
import os
import signal
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from msgspec.structs import replace

from application.ports import Append, NewEvent
from application.replay_journal import Replayed, ReplayJournal
from domain.calls import CallAnswered, CallFoundInDoubt, CallRequested
from domain.errors import Unavailable
from infrastructure.answer_journal import SET_ASIDE, SUFFIX, AnswerJournal
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.journal_frames import HEADER, Frames
from infrastructure.journal_state import waiting_files
from tests.conftest import Database
from tests.support.dying_journal import BODY, answer, keep_and_replay
from tests.support.facts import ENVELOPE, EXAMPLES
from tests.support.given_when_then import START, ListStore
from tests.support.warm_process import WarmProcess

REQUESTED = next(fact for fact in EXAMPLES if isinstance(fact, CallRequested))
CALLS = [UUID(int=number) for number in range(1, 5)]
LONE = UUID(int=99)
DEAD, ALIVE = "00000000000000d1", "00000000000000a1"


def requested(call_id: UUID) -> NewEvent:
    return NewEvent(stream_id=call_id, version=1, fact=REQUESTED, envelope=ENVELOPE)


def waiting(folder: Path, *calls: UUID) -> Path:
    """The file of a dead process in which the answers of these calls wait."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{DEAD}{SUFFIX}"
    path.write_bytes(b"".join(Frames().encode(answer(call)) for call in calls))
    return path


def requests() -> ListStore:
    store = ListStore()
    for call in CALLS:
        store.given(call, REQUESTED)
    return store


def answered(store: ListStore) -> list[UUID]:
    return [event.stream_id for event in store.events if isinstance(event.fact, CallAnswered)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[AnswerJournal]:
    journal = AnswerJournal(tmp_path / "journal" / "store", process=ALIVE)
    yield journal
    journal.close()


async def test_nothing_is_made_on_disk_before_something_must_be_kept(tmp_path: Path, journal: AnswerJournal) -> None:
    await ReplayJournal(requests(), journal)()
    assert list(tmp_path.iterdir()) == []
    await journal.keep(answer(CALLS[0]))
    (path,) = tmp_path.rglob(f"*{SUFFIX}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in path.parents[:2]] == [0o700, 0o700]


async def test_events_come_back_byte_for_byte_and_the_file_is_emptied(journal: AnswerJournal, tmp_path: Path) -> None:
    store = requests()
    await asyncio.gather(*(journal.keep(answer(call)) for call in CALLS))
    assert all(journal.holds(call) for call in CALLS)
    assert await ReplayJournal(store, journal)() == Replayed(len(CALLS), 0)
    assert answered(store) == CALLS
    assert {event.envelope for event in store.events if isinstance(event.fact, CallAnswered)} == {ENVELOPE}
    assert store.payloads[CALLS[0], 2, "response"] == answer(CALLS[0])[0].payloads[0]
    assert not journal.waits
    assert not any(journal.holds(call) for call in CALLS)
    journal.close()
    assert list(tmp_path.rglob(f"*{SUFFIX}")) == []


async def test_many_that_are_kept_at_once_share_an_fsync(
    journal: AnswerJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = 0
    fsync = os.fsync

    def counting(file: int) -> None:
        nonlocal synced
        synced += 1
        fsync(file)

    await journal.keep(answer(CALLS[0]))
    monkeypatch.setattr(os, "fsync", counting)
    calls = [uuid4() for _ in range(200)]
    await asyncio.gather(*(journal.keep(answer(call)) for call in calls))
    assert synced < 100
    assert all(journal.holds(call) for call in calls)


async def test_what_is_kept_while_a_replay_runs_waits_for_the_next(journal: AnswerJournal) -> None:
    store = requests()
    await journal.keep(answer(CALLS[0]))
    (file,) = journal.files()
    assert len(list(file.entries())) == 1
    await journal.keep(answer(CALLS[1]))
    assert not file.close(unplaced=0)
    assert journal.holds(CALLS[1])
    await ReplayJournal(store, journal)()
    assert answered(store) == CALLS[:2]


@pytest.mark.parametrize("keeps_the_lock", [True, False])
async def test_only_the_files_of_the_dead_are_taken(journal: AnswerJournal, keeps_the_lock: bool) -> None:
    other = AnswerJournal(journal._folder, process=DEAD)
    await other.keep(answer(CALLS[0]))
    if not keeps_the_lock:
        other.close()
    store = requests()
    await ReplayJournal(store, journal)()
    assert answered(store) == ([] if keeps_the_lock else CALLS[:1])
    other.close()


async def test_two_that_replay_at_once_take_turns(tmp_path: Path) -> None:
    waiting(tmp_path, *CALLS)
    store = requests()
    journals = [AnswerJournal(tmp_path, process=f"{number:016x}") for number in range(5)]
    replayed = await asyncio.gather(*(ReplayJournal(store, each)() for each in journals))
    assert sum(each.entries for each in replayed) == len(CALLS)
    assert answered(store) == CALLS
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_was_cut_off_anywhere_gives_every_whole_entry_once(tmp_path: Path) -> None:
    content = waiting(tmp_path / "whole", *CALLS[:3]).read_bytes()
    size = len(content) // 3
    for length in range(len(content) + 1):
        (tmp_path / f"{DEAD}{SUFFIX}").write_bytes(content[:length])
        store = requests()
        replayed = await ReplayJournal(store, AnswerJournal(tmp_path, process=ALIVE))()
        assert (answered(store), replayed.set_aside) == (CALLS[: length // size], 0), length
    assert list(tmp_path.glob("*.*")) == []


async def test_room_that_was_never_filled_is_no_damage(tmp_path: Path) -> None:
    path = waiting(tmp_path, CALLS[0])
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert await ReplayJournal(requests(), AnswerJournal(tmp_path, process=ALIVE))() == Replayed(1, 0)


async def test_a_damaged_entry_is_reported_and_those_around_it_land(tmp_path: Path) -> None:
    size = waiting(tmp_path, CALLS[0]).stat().st_size
    for at in [*range(size, size + HEADER.size), 2 * size - 1, 3 * size - 1]:
        path = waiting(tmp_path, *CALLS[:3])
        content = bytearray(path.read_bytes())
        content[at] ^= 0x40
        path.write_bytes(content)
        store = requests()
        assert (await ReplayJournal(store, AnswerJournal(tmp_path, process=ALIVE))()).set_aside == 1
        lost = at // size
        assert answered(store) == [call for number, call in enumerate(CALLS[:3]) if number != lost]
        (aside,) = tmp_path.iterdir()
        assert aside.suffix == SET_ASIDE
        assert aside.read_bytes() == content
        aside.unlink()


async def test_an_own_file_with_something_left_over_is_set_aside_too(journal: AnswerJournal, tmp_path: Path) -> None:
    await journal.keep(answer(LONE))
    await journal.keep(answer(CALLS[0]))
    store = requests()
    assert await ReplayJournal(store, journal)() == Replayed(1, 1)
    await journal.keep(answer(CALLS[1]))
    assert await ReplayJournal(store, journal)() == Replayed(1, 0)
    assert answered(store) == CALLS[:2]
    (state,) = waiting_files(tmp_path)
    assert (state.calls, state.set_aside, state.since) == (2, True, ENVELOPE.occurred_at)


async def test_a_store_that_goes_away_during_a_replay_leaves_the_rest_waiting(journal: AnswerJournal) -> None:
    store = requests()
    await journal.keep(answer(CALLS[0]))
    store.unavailable = True
    with pytest.raises(Unavailable):
        await ReplayJournal(store, journal)()
    assert journal.holds(CALLS[0])
    store.unavailable = False
    await ReplayJournal(store, journal)()
    assert answered(store) == CALLS[:1]


@pytest.mark.parametrize("step", ["pwrite", "fsync"])
async def test_a_full_disk_is_said_with_the_call_and_leaves_no_rest(
    journal: AnswerJournal, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await journal.keep(answer(CALLS[0]))

    def full(file: int, content: bytes = b"", offset: int = 0) -> int:
        if content:
            pwrite(file, content[:7], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    pwrite = os.pwrite
    (path,) = journal._folder.iterdir()
    whole = path.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(os, step, full)
        with pytest.raises(Unavailable, match=f"call {CALLS[1]}.*No space left on device"):
            await journal.keep(answer(CALLS[1]))
    assert not journal.holds(CALLS[1])
    assert path.read_bytes() == whole
    await journal.keep(answer(CALLS[2]))
    store = requests()
    assert await ReplayJournal(store, journal)() == Replayed(2, 0)
    assert answered(store) == [CALLS[0], CALLS[2]]


async def test_a_folder_that_cannot_be_made_is_said_with_the_call(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    journal = AnswerJournal(tmp_path / "file" / "journal", process=ALIVE)
    with pytest.raises(Unavailable, match=f"call {CALLS[0]}.*STUDY_HOME"):
        await journal.keep(answer(CALLS[0]))


def test_the_calls_that_wait_are_counted_while_their_process_lives(tmp_path: Path) -> None:
    folder = tmp_path / "journal" / "store"
    folder.parent.mkdir()
    path = waiting(folder, *CALLS, CALLS[0])
    path.write_bytes(path.read_bytes()[:-1])
    (state,) = waiting_files(tmp_path)
    assert (state.path, state.calls, state.since) == (path, 4, ENVELOPE.occurred_at)
    assert (state.damaged_bytes, state.set_aside) == (0, False)
    assert waiting_files(tmp_path / "elsewhere") == []


async def test_killed_at_any_step_of_keeping_replaying_and_forgetting_every_answer_lands_once(
    database: Database, tmp_path: Path
) -> None:
    """A process keeps answers, replays them and a dead one's, and is killed before its nth step; another takes over."""
    doubt = CallFoundInDoubt(dead_process=DEAD, first_seen_dead_at=START)
    store = PostgresEventStore(database.application_uri, process=1)
    step = code = 0
    while step == 0 or code != 0:
        step += 1
        calls = [UUID(int=1000 * step + number) for number in range(4)]
        for call in calls:
            await store.append(Append(events=(requested(call),)))
        await store.append(Append(events=(replace(answer(calls[1])[0], fact=doubt, payloads=()),)))
        waiting(tmp_path, calls[0])
        dying = WarmProcess(
            keep_and_replay, database.application_uri, tmp_path, step, calls[1:], environment=dict(os.environ)
        )
        told = set(iter(partial(dying.hear, within=60), None))
        code = dying.wait(60)
        assert code in (0, -signal.SIGKILL)
        dying.close()
        await ReplayJournal(store, AnswerJournal(tmp_path, process=ALIVE))()
        for call in calls:
            names = [event.fact.stored_name for event in await store.read_stream(call)]
            expected = ["call.requested.v1", *([doubt.stored_name] if call == calls[1] else []), "call.answered.v1"]
            assert names == expected or (names == expected[:-1] and call not in told and call != calls[0]), step
        assert list(tmp_path.iterdir()) == [], step
    assert told == set(calls[1:])
    assert step > 20
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT DISTINCT body FROM events.payloads").fetchall() == [(BODY,)]
    store.close()
