"""The store goes away after a call's request was stored: what was paid for reaches the caller, and the log later."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest

from application.ask_model import Question
from application.embed_texts import TextsToEmbed
from application.providers import PreparedRequest, ProviderAnswer
from domain.errors import NotFound, Unavailable
from infrastructure.event_store import patient_writer
from infrastructure.event_store.datastore import BoundedConnection
from infrastructure.journal_state import waiting_files
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from interfaces.study import Study
from tests.conftest import Database
from tests.interfaces.http.conftest import serving
from tests.support.cut_line import CutLine
from tests.support.misbehaving_server import MisbehavingServer, Received
from tests.support.scripted_provider import ScriptedProvider, vector_of
from tests.support.warm_process import WarmCommand

PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process; processes of their own have the real one."""
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 1.0)
    monkeypatch.setattr(BoundedConnection, "silence_seconds", 2.0)


@pytest.fixture
def line(database: Database) -> Iterator[CutLine]:
    with CutLine(database.owner_uri) as line:
        yield line


class Losing(ScriptedProvider):
    """Answers once the store has been lost under it."""

    def __init__(self, lose: Callable[[], None]) -> None:
        super().__init__()
        self.lose = lose

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        self.lose()
        return await super().send(prepared, timeout_seconds=timeout_seconds)


@asynccontextmanager
async def opened(uri: str, home: Path, provider: ScriptedProvider) -> AsyncIterator[Study]:
    settings = read_settings(database_url=uri, study_home=home, study_default_provider="scripted")
    async with open_study(settings, providers={"scripted": provider}) as study:
        yield study


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        await asyncio.sleep(0.1)


def shows(study: Study, call_id: object, status: str) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        try:
            return bool((await study.calls.get(str(call_id)))["status"] == status)
        except (NotFound, Unavailable):
            return False  # not back yet, or not shown yet

    return look


@pytest.mark.parametrize("lose", [CutLine.cut, CutLine.fall_silent])
async def test_an_answer_reaches_the_caller_at_once_and_the_log_when_the_store_is_back(
    line: CutLine, tmp_path: Path, lose: Callable[[CutLine], None]
) -> None:
    provider = Losing(lambda: lose(line))
    async with opened(line.uri, tmp_path, provider) as study:
        answer = await study.asking.ask(Question(prompt="Three primes?", provider="scripted"), study.context())
        assert (answer.text, answer.position) == ("echo: Three primes?", None)
        (file,) = waiting_files(tmp_path)
        assert file.calls == 1
        began = time.monotonic()
        with pytest.raises(Unavailable, match="can't be written"):
            await study.asking.ask(Question(prompt="And now?", provider="scripted"), study.context())
        assert time.monotonic() - began < 15
        assert len(provider.sent) == 1
        line.mend()
        await until(shows(study, answer.call_id, "success"))
        assert waiting_files(tmp_path) == []
        assert [event["event"] for event in (await study.history.of("call", answer.call_id))["items"]] == [
            "call.requested.v1",
            "call.answered.v1",
        ]
        provider.lose = lambda: None
        again = await study.asking.ask(Question(prompt="And now?", provider="scripted"), study.context())
        assert again.position is not None


async def test_a_request_whose_acknowledgement_is_lost_is_stored_once_and_made_once(
    line: CutLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 5.0)
    provider = ScriptedProvider()
    async with opened(line.uri, tmp_path, provider) as study:
        await study.asking.ask(Question(prompt="?", provider="scripted"), study.context())
        line.swallow_answers()
        asking = asyncio.create_task(study.asking.ask(Question(prompt="?", provider="scripted"), study.context()))
        await asyncio.sleep(0.5)
        line.mend()
        answer = await asking
        assert answer.position is not None
        assert len(provider.sent) == 2
        await until(shows(study, answer.call_id, "success"))
        events = (await study.history.of("call", answer.call_id))["items"]
        assert [event["event"] for event in events] == ["call.requested.v1", "call.answered.v1"]


async def test_a_request_that_was_stored_and_never_confirmed_is_not_made_and_seen_to_end(
    line: CutLine, tmp_path: Path
) -> None:
    provider = ScriptedProvider()
    async with opened(line.uri, tmp_path, provider) as study:
        first = await study.asking.ask(Question(prompt="?", provider="scripted"), study.context())
        line.swallow_answers()
        asking = asyncio.create_task(study.asking.ask(Question(prompt="?", provider="scripted"), study.context()))
        await asyncio.sleep(1)
        line.cut()
        with pytest.raises(Unavailable):
            await asking
        assert len(provider.sent) == 1
        line.mend()
        await until(shows(study, first.call_id, "success"))

        async def is_cancelled() -> bool:
            try:
                return [call["status"] for call in (await study.calls.list())["items"]] == ["cancelled", "success"]
            except Unavailable:
                return False

        await until(is_cancelled)
        assert waiting_files(tmp_path) == []


async def test_vectors_reach_the_caller_and_are_known_when_the_store_is_back(line: CutLine, tmp_path: Path) -> None:
    provider = Losing(line.cut)
    wanted = TextsToEmbed(texts=("a", "bb"), provider="scripted")
    async with opened(line.uri, tmp_path, provider) as study:
        embedded = await study.embeddings.of_texts(wanted, study.context())
        assert embedded.position is None
        assert np.array_equal(embedded.vectors, np.array([vector_of("a"), vector_of("bb")], dtype=np.float32))
        line.mend()
        await until(shows(study, embedded.call_ids[0], "success"))
        again = await study.embeddings.of_texts(wanted, study.context())
        assert again.cached.all()
        assert len(provider.sent) == 1


async def test_what_waits_when_its_process_ends_is_appended_by_the_next(
    line: CutLine, database: Database, tmp_path: Path
) -> None:
    provider = Losing(line.cut)
    async with opened(line.uri, tmp_path, provider) as study:
        answer = await study.asking.ask(Question(prompt="?", provider="scripted"), study.context())
    assert [file.calls for file in waiting_files(tmp_path)] == [1]
    async with opened(database.owner_uri, tmp_path, ScriptedProvider()) as study:
        assert (await study.calls.get(answer.call_id))["status"] == "success"
    assert waiting_files(tmp_path) == []


async def test_a_journal_is_never_appended_to_another_store(
    line: CutLine, server: tuple[str, str], tmp_path: Path
) -> None:
    async with opened(line.uri, tmp_path, Losing(line.cut)) as study:
        await study.asking.ask(Question(prompt="?", provider="scripted"), study.context())
    (waiting,) = waiting_files(tmp_path)
    with_own_identity = waiting.path.parent.rename(tmp_path / "journal" / "00000000-0000-0000-0000-000000000000")
    line.mend()
    async with opened(line.uri, tmp_path, ScriptedProvider()):
        assert [file.path.parent for file in waiting_files(tmp_path)] == [with_own_identity]


def cutting(line: CutLine) -> Callable[[Received, int], str]:
    """A provider's rule: answer, once the line to the store is cut."""

    def rule(_request: Received, _number: int) -> str:
        line.cut()
        return "ok"

    return rule


def run_study(environment: dict[str, str], folder: Path, *words: str) -> tuple[int, str, str]:
    with closing(WarmCommand(*words, "--json", folder=folder, environment=environment)) as command:
        return command.ended(PATIENCE_SECONDS)


def test_a_command_answers_without_its_store_and_the_doctor_says_what_waits(
    line: CutLine, database: Database, tmp_path: Path
) -> None:
    environment = {"PATH": "", "STUDY_HOME": str(tmp_path), "DATABASE_URL": line.uri}
    with MisbehavingServer() as provider:
        provider.behave_by(cutting(line))
        asking = {**environment, "OPENAI_BASE_URL": provider.url}
        code, out, err = run_study(asking, tmp_path, "ask", "Hello?", "--provider", "openai")
    answer = json.loads(out)
    assert (code, answer["status"], answer["position"]) == (0, "success", None), err

    def doctor(*words: str, **settings: str) -> dict[str, Any]:
        _, out, _ = run_study({**environment, **settings}, tmp_path, "doctor", *words)
        return {each["check"]: each for each in json.loads(out)["items"]}

    assert "1 calls wait since" in doctor()["journal"]["detail"]
    mended = doctor("--mend", DATABASE_URL=database.owner_uri)
    assert mended["journal"] == {"check": "journal", "ok": True, "detail": "nothing waits", "remedy": None}
    with psycopg.connect(database.owner_uri) as owner:
        found = owner.execute("SELECT status FROM study.raw_calls WHERE call_id = %s", (answer["call_id"],)).fetchall()
    assert found == [("success",)]


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/calls", {"prompt": "Hello?"}), ("/api/embeddings", {"texts": ["a", "b"]})],
)
def test_the_server_answers_with_no_position_while_its_store_is_away(
    line: CutLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    settings = read_settings(database_url=line.uri, study_home=tmp_path)
    with MisbehavingServer() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        provider.behave_by(cutting(line))
        with serving(settings) as address, httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as http:
            response = http.post(path, json={**body, "provider": "openai", "model": "tiny"})
            assert response.status_code in (200, 201), response.text
            assert response.json()["position"] is None
            assert http.get("/health/live").status_code == 200
            line.mend()
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (listed := http.get("/api/calls", params={"status": "success"})).status_code == 503 or not (
                listed.json()["items"]
            ):
                assert time.monotonic() < deadline, listed.text
                time.sleep(0.1)
            assert waiting_files(tmp_path) == []
