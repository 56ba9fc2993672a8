"""Conversations of processes that are killed: nobody is stuck, and nothing is paid twice."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from application.continue_conversation import Message, TakenTurn
from application.keep_conversation import NewConversation
from application.notebook import Notebook
from application.ports import Claim, NewEvent
from domain.conversations import ConversationSettings, ConversationTurnTaken
from domain.errors import Conflict
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.conftest import Database
from tests.support.misbehaving_server import MisbehavingServer
from tests.support.warm_process import WarmProcess

TALK = UUID(int=1)
PATIENCE_SECONDS = 60.0


def talker(_line: Connection, content: str) -> None:
    """Say something; of `dies`, the process is killed when the answer is stored and the turn is not."""
    if content == "dies":
        write_or_keep = Notebook.write_or_keep

        async def killed(self: Notebook, *entries: NewEvent, free: tuple[Claim, ...] = ()) -> int | None:
            if isinstance(entries[0].fact, ConversationTurnTaken):
                os.kill(os.getpid(), signal.SIGKILL)
            return await write_or_keep(self, *entries, free=free)

        Notebook.write_or_keep = killed  # type: ignore[method-assign]

    async def say() -> None:
        async with open_study(read_settings()) as study:
            await study.conversations.say(TALK, Message(content=content), study.context())

    asyncio.run(say())


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def talking(database: Database, provider: MisbehavingServer, home: Path, content: str) -> WarmProcess:
    environment = {
        **os.environ,
        "DATABASE_URL": database.application_uri,
        "STUDY_HOME": str(home),
        "OPENAI_BASE_URL": provider.url,
    }
    return WarmProcess(talker, content, environment=environment)


async def test_the_answer_of_a_killed_process_is_the_turn_and_is_not_paid_again(
    database: Database, provider: MisbehavingServer, tmp_path: Path
) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    async with open_study(settings) as study:
        openai = ConversationSettings(provider="openai", model="tiny")
        await study.conversations.start(NewConversation(conversation_id=TALK, settings=openai), study.context())
        with closing(talking(database, provider, tmp_path, "dies")) as process:
            assert await asyncio.to_thread(process.wait, PATIENCE_SECONDS) == -signal.SIGKILL
        assert len(provider.requests) == 1
        turn = await said_once_it_can_be(study, "dies")
        assert (turn.turn, turn.text, len(provider.requests)) == (1, "echo: dies", 1)
        assert (await study.conversations.say(TALK, Message(content="lives"), study.context())).turn == 2
    with psycopg.connect(database.owner_uri) as owner:
        assert owner.execute("SELECT count(*) FROM events.claims").fetchone() == (0,)


async def test_a_conversation_whose_process_is_killed_while_it_waits_for_the_answer_is_taken_over(
    database: Database, provider: MisbehavingServer, tmp_path: Path
) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    provider.hold()
    async with open_study(settings) as study:
        openai = ConversationSettings(provider="openai", model="tiny")
        await study.conversations.start(NewConversation(conversation_id=TALK, settings=openai), study.context())
        with closing(talking(database, provider, tmp_path, "waits")) as process:
            while not provider.requests:
                assert process.exit_code is None
                await asyncio.sleep(0.02)
            with pytest.raises(Conflict, match="answering another message"):
                await study.conversations.say(TALK, Message(content="meanwhile"), study.context())
            process.kill()
        provider.release()
        assert (await said_once_it_can_be(study, "afterwards")).turn == 1
    assert len(provider.requests) == 2


async def said_once_it_can_be(study: object, content: str) -> TakenTurn:
    """A killed process's lock is free once the server has noticed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            turn: TakenTurn = await study.conversations.say(TALK, Message(content=content), study.context())  # type: ignore[attr-defined]
        except Conflict:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return turn
