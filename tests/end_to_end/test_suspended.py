"""A process that is stopped for a while: in doubt if its lock was lost, and only then; its late answer resolves it."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.conftest import Database
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

ROOT = Path(__file__).parents[2]
LOOK_SECONDS = 0.5


async def suspend(process: asyncio.subprocess.Process, owner: psycopg.Connection) -> None:
    """Stop a process between two transactions: within one it would hold up the read models for everybody."""
    while True:
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.05)
        (busy,) = owner.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        ).fetchall()[0]
        if not busy:
            return
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("loses_its_lock", [True, False])
async def test_the_late_answer_of_a_suspended_process_resolves_its_call(
    database: Database, tmp_path: Path, loses_its_lock: bool
) -> None:
    with MisbehavingServer() as provider, psycopg.connect(database.owner_uri, autocommit=True) as owner:
        provider.behave_always(Behaviour("slow", delay_seconds=3.0))
        command = [sys.executable, "-m", "interfaces.cli.main", "ask", "Hello?", "--provider", "openai", "--json"]
        environment = {
            "PATH": "",
            "DATABASE_URL": database.owner_uri,
            "STUDY_HOME": str(tmp_path),
            "OPENAI_BASE_URL": provider.url,
        }
        asking = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        while not provider.requests:
            assert asking.returncode is None
            await asyncio.sleep(0.01)
        await suspend(asking, owner)
        if loses_its_lock:
            owner.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE application_name LIKE 'study keeper%' AND datname = current_database()"
            )
        settings = read_settings(
            database_url=database.owner_uri, study_home=tmp_path, study_in_doubt_after_s=LOOK_SECONDS
        )
        async with open_study(settings) as other:
            await asyncio.sleep(LOOK_SECONDS * 2)
            marked = await other.house.recover()
            (call,) = (await other.calls.list())["items"]
            assert (marked, call["status"]) == ((1, "in_doubt") if loses_its_lock else (0, "requested"))
        asking.send_signal(signal.SIGCONT)
        out, _ = await asyncio.wait_for(asking.communicate(), timeout=60)
        assert asking.returncode == 0
        assert json.loads(out)["position"] is not None
        async with open_study(settings) as other:
            await asyncio.sleep(LOOK_SECONDS * 2)
            assert await other.house.recover() == 0
            (call,) = (await other.calls.list())["items"]
            assert call["status"] == "success"
            history = [event["event"] for event in (await other.history.of("call", call["call_id"]))["items"]]
        assert history == [
            "call.requested.v1",
            *(["call.found_in_doubt.v1"] if loses_its_lock else []),
            "call.answered.v1",
        ]
        assert len(provider.requests) == 1
