"""Processes that ask the same at once: one call at the provider, whoever is killed, stopped or without a store.

STUDY_TEST_SCALE multiplies the number of requests.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import pytest

from application.ask_model import Question
from application.embed_texts import TextsToEmbed
from domain.errors import StudyError
from infrastructure.event_store import patient_writer
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from interfaces.study import Study
from tests.conftest import Database
from tests.support.cut_line import CutLine
from tests.support.misbehaving_server import MisbehavingServer
from tests.support.warm_process import WarmProcess

SCALE = float(os.environ.get("STUDY_TEST_SCALE", "1"))
PATIENCE_SECONDS = 120.0
QUESTION = Question(prompt="Three primes?", provider="openai", model="tiny")


def asker(line: Connection, count: int) -> None:
    """Ask the same so often at once, once it is told to; say what came of each."""

    async def ask_all() -> None:
        async with open_study(read_settings()) as study:
            study.registry.create("openai")
            line.send("ready")
            await asyncio.to_thread(line.recv)
            asked = (study.asking.ask(QUESTION, study.context()) for _ in range(count))
            for result in await asyncio.gather(*asked, return_exceptions=True):
                said = str(result) if isinstance(result, StudyError) else result.text  # type: ignore[union-attr]
                shared = None if isinstance(result, BaseException) else result.shared_with
                line.send({"said": said, "shared_with": shared and str(shared)})

    asyncio.run(ask_all())


@pytest.fixture
def provider() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        server.hold()
        yield server


class Askers:
    """Processes that ask when they are told to."""

    def __init__(self, database: Database, provider: MisbehavingServer, home: Path, processes: int, count: int) -> None:
        self.environment = {
            **os.environ,
            "DATABASE_URL": database.application_uri,
            "STUDY_HOME": str(home),
            "OPENAI_BASE_URL": provider.url,
        }
        self.database = database
        self.running = [WarmProcess(asker, count, environment=self.environment) for _ in range(processes)]
        for process in self.running:
            assert process.hear(within=PATIENCE_SECONDS) == "ready"

    def go(self, *numbers: int) -> None:
        for number in numbers or range(len(self.running)):
            self.running[number].line.send("go")

    def events(self, topic: str) -> int:
        with psycopg.connect(self.database.owner_uri) as owner:
            (count,) = owner.execute("SELECT count(*) FROM events.events WHERE topic = %s", (topic,)).fetchone() or (0,)
            return int(count)

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, "it did not come to hold"
            time.sleep(0.05)

    def said(self) -> list[dict[str, Any]]:
        """What the processes that live said, once they have ended."""
        lines: list[dict[str, Any]] = []
        for process in self.running:
            while (line := process.hear(within=PATIENCE_SECONDS)) is not None:
                lines.append(line)
        return lines


@pytest.fixture
def askers(database: Database, provider: MisbehavingServer, tmp_path: Path) -> Iterator[Callable[..., Askers]]:
    made: list[Askers] = []

    def make(processes: int, count: int) -> Askers:
        made.append(Askers(database, provider, tmp_path, processes, count))
        return made[-1]

    yield make
    for each in made:
        for process in each.running:
            process.close()


def test_five_processes_that_ask_the_same_make_one_call(
    askers: Callable[..., Askers], provider: MisbehavingServer
) -> None:
    count = int(50 * SCALE)
    asking = askers(processes=5, count=count)
    asking.go()
    asking.until(lambda: asking.events("call.joined.v1") == 5 * count - 1)
    provider.release()
    said = asking.said()
    assert (len(said), {each["said"] for each in said}) == (5 * count, {"echo: Three primes?"})
    assert len(provider.requests) == asking.events("call.requested.v1") == asking.events("call.answered.v1") == 1
    assert Counter(each["shared_with"] is None for each in said) == {True: 1, False: 5 * count - 1}
    assert asking.events("call.joined.v1") == 5 * count - 1


def test_when_the_owners_process_is_killed_one_takes_over_and_the_others_join_it(
    askers: Callable[..., Askers], provider: MisbehavingServer
) -> None:
    asking = askers(processes=3, count=4)
    asking.go(0)
    asking.until(lambda: len(provider.requests) == 1)
    asking.go(1, 2)
    asking.until(lambda: asking.events("call.joined.v1") == 11)
    asking.running[0].kill()
    asking.until(lambda: len(provider.requests) == 2)
    asking.until(lambda: asking.events("call.joined.v1") == 11 + 8)
    provider.release()
    said = asking.said()
    assert [each["said"] for each in said] == ["echo: Three primes?"] * 8
    assert Counter(each["shared_with"] is None for each in said) == {True: 1, False: 7}
    assert len(provider.requests) == asking.events("call.requested.v1") == 2
    with psycopg.connect(asking.database.owner_uri) as owner:
        assert owner.execute("SELECT count(*) FROM events.claims").fetchone() == (0,)


@asynccontextmanager
async def opened(uri: str, home: Path) -> AsyncIterator[Study]:
    async with open_study(read_settings(database_url=uri, study_home=home)) as study:
        yield study


async def until_asked(provider: MisbehavingServer, count: int = 1) -> None:
    while len(provider.requests) < count:
        await asyncio.sleep(0.02)


async def until_joined(study: Study, count: int) -> None:
    while [each.fact.stored_name for each in study.store.page(after=0, limit=50)].count("call.joined.v1") < count:
        await asyncio.sleep(0.02)


async def test_a_process_that_lost_the_store_shares_its_answer_within_and_another_process_takes_over(
    database: Database, provider: MisbehavingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from the store, a process that can't be reached is dead."""
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 1.0)
    with CutLine(database.application_uri) as line:
        async with (
            opened(line.uri, tmp_path / "one") as cut_off,
            opened(database.application_uri, tmp_path / "two") as other,
        ):
            here = [asyncio.create_task(cut_off.asking.ask(QUESTION, cut_off.context())) for _ in range(2)]
            await until_asked(provider)
            there = asyncio.create_task(other.asking.ask(QUESTION, other.context()))
            await until_joined(other, 2)
            line.cut()
            await until_asked(provider, 2)
            provider.release()
            for task in here:
                answer = await task
                assert (answer.text, answer.position) == ("echo: Three primes?", None)
            taken_over = await there
            assert (taken_over.text, taken_over.shared_with) == ("echo: Three primes?", None)
            line.mend()
            assert (await other.asking.ask(QUESTION, other.context())).shared_with is None
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT count(*) FROM events.claims").fetchone() == (0,)
    assert len(provider.requests) == 3


async def test_two_processes_that_embed_the_same_texts_at_once_pay_once(
    database: Database, provider: MisbehavingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    wanted = TextsToEmbed(texts=("a", "bb", "a"), provider="openai", model="tiny")
    async with opened(database.application_uri, tmp_path) as one, opened(database.application_uri, tmp_path) as two:
        first = asyncio.create_task(one.embeddings.of_texts(wanted, one.context()))
        await until_asked(provider)
        second = asyncio.create_task(two.embeddings.of_texts(wanted, two.context()))
        await until_joined(two, 1)
        provider.release()
        paid, shared = await first, await second
    assert (paid.vectors == shared.vectors).all()
    assert (paid.call_ids, len(provider.requests)) == (shared.call_ids, 1)
    assert not paid.cached.any()
    assert shared.cached.all()
