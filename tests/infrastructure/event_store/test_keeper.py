import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from infrastructure.event_store.keeper import RELOCK_SECONDS, Keeper
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of
from tests.support.cut_line import CutLine
from tests.support.own_server import OwnServer

DEAD = 12345


async def test_a_process_is_gone_only_at_the_second_of_two_looks(store: PostgresEventStore, keeper: Keeper) -> None:
    assert await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2) == {}
    assert await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2) == {}
    await asyncio.sleep(0.25)
    assert set(await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2)) == {DEAD}


async def test_a_process_that_came_back_between_two_looks_starts_afresh(
    database: Database, store: PostgresEventStore
) -> None:
    await store.processes_in_doubt([DEAD], after_seconds=0)
    with psycopg.connect(database.application_uri, autocommit=True) as back:
        back.execute("SELECT pg_advisory_lock(%s)", (DEAD,))
        assert await store.processes_in_doubt([DEAD], after_seconds=0) == {}
    await asyncio.sleep(0.1)
    assert await store.processes_in_doubt([DEAD], after_seconds=5) == {}


class Watch:
    """Looks at a keeper from a connection of its own."""

    def __init__(self, uri: str, keeper: Keeper) -> None:
        self.uri = uri
        self.keeper = keeper

    def asked(self, sql: str, *parameters: object) -> object:
        with psycopg.connect(self.uri, autocommit=True) as owner:
            row = owner.execute(sql.encode(), parameters).fetchone()
        return row[0] if row else None

    def is_alive(self) -> bool:
        return bool(self.asked("SELECT events.is_alive(%s)", self.keeper.number))

    def connected(self) -> bool:
        return bool(
            self.asked(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = %s",
                f"study keeper {self.keeper.process}",
            )
        )

    def end_session(self) -> None:
        """End the keeper's session on the server, and wait until its lock is gone."""
        self.asked(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s",
            f"study keeper {self.keeper.process}",
        )

    async def alive_within(self, seconds: float) -> bool:
        return await self._within(seconds, alive=True)

    async def gone_within(self, seconds: float) -> bool:
        """The server ends a session a moment after its client has."""
        return await self._within(seconds, alive=False)

    async def _within(self, seconds: float, *, alive: bool) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if await asyncio.to_thread(self.is_alive) == alive:
                return True
            await asyncio.sleep(0.05)
        return False


def reset(line: CutLine, watch: Watch) -> None:
    line.cut()
    line.mend()


def session_ended(line: CutLine, watch: Watch) -> None:
    watch.end_session()


def silence(line: CutLine, watch: Watch) -> None:
    """The server ends the session, and the keeper is never told."""
    line.lose_track()
    watch.end_session()


@pytest.mark.parametrize("lose", [session_ended, reset, silence])
async def test_a_keeper_that_lost_its_lock_has_it_again_within_seconds_under_the_same_number(
    database: Database, lose: Callable[[CutLine, Watch], None]
) -> None:
    with CutLine(database.application_uri) as line:
        keeper = Keeper(line.uri, on_event=lambda: None)
        watch = Watch(database.owner_uri, keeper)
        keeper.start()
        number = keeper.number
        for _ in range(2):
            lose(line, watch)
            assert await watch.alive_within(5)
        assert keeper.number == number
        keeper.close()
        assert await watch.gone_within(5)


async def test_a_keeper_has_its_lock_again_within_seconds_of_a_restart_of_postgres(tmp_path: Path) -> None:
    server = OwnServer(tmp_path)
    migrate(server.uri)
    keeper = Keeper(server.uri, on_event=lambda: None)
    keeper.start()
    for _ in range(2):
        server.crash()
        await asyncio.sleep(0.5)
        server.start()
        assert await Watch(server.uri, keeper).alive_within(5)
    keeper.close()
    server.stop()


async def test_a_keeper_whose_number_was_taken_meanwhile_is_no_keeper_until_it_is_free(database: Database) -> None:
    keeper = Keeper(database.application_uri, on_event=lambda: None)
    watch = Watch(database.owner_uri, keeper)
    with psycopg.connect(database.owner_uri, autocommit=True) as other:
        watch.end_session()
        other.execute("SELECT pg_advisory_lock(%s)", (keeper.number,))
        keeper.start()
        await asyncio.sleep(RELOCK_SECONDS * 2.5)
        assert keeper._connection.closed
        holders = other.execute(
            "SELECT pid = pg_backend_pid() FROM pg_locks "
            "WHERE locktype = 'advisory' AND objid = (%s & 4294967295)::oid",
            (keeper.number,),
        ).fetchall()
        assert holders == [(True,)]
        other.execute("SELECT pg_advisory_unlock(%s)", (keeper.number,))
        assert await watch.alive_within(5)
    assert watch.connected()
    keeper.close()


async def test_an_append_wakes_the_keeper(database: Database, store: PostgresEventStore) -> None:
    woken = threading.Event()
    keeper = Keeper(database.application_uri, on_event=woken.set)
    keeper.start()
    await store.append(append_of())
    assert await asyncio.to_thread(woken.wait, 3)
    keeper.close()
