"""Keeps answers in a journal and replays them, and is killed before its nth step: a system call, or an append."""

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import UUID

from application.ports import Append, NewEvent, Payload
from application.replay_journal import ReplayJournal
from domain.calls import CallAnswered
from infrastructure.answer_journal import AnswerJournal
from infrastructure.event_store.store import PostgresEventStore
from tests.support.facts import ENVELOPE, EXAMPLES

ANSWERED = next(fact for fact in EXAMPLES if isinstance(fact, CallAnswered))
BODY = bytes(range(256)) + b"\x00\xff\xf5SQ1"


def answer(call_id: UUID, body: bytes = BODY) -> tuple[NewEvent, ...]:
    """The answer of a call, as a journal keeps it."""
    response = Payload(part="response", body=body, vectors=body[:8], media_type="application/json", is_json=True)
    return (NewEvent(stream_id=call_id, version=2, fact=ANSWERED, envelope=ENVELOPE, payloads=(response,)),)


class Countdown:
    """Lets steps through until the nth, which kills."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(self, module: Any, name: str) -> None:
        """Make a system call a step."""
        real: Callable[..., Any] = getattr(module, name)

        def stepping(*arguments: Any, **options: Any) -> Any:
            self()
            if name == "pwrite":  # and a second one, when half of it is written
                real(arguments[0], arguments[1][: len(arguments[1]) // 2], arguments[2])
                self()
            return real(*arguments, **options)

        setattr(module, name, stepping)


def keep_and_replay(line: Connection, uri: str, folder: Path, steps: int, calls: list[UUID]) -> None:
    """Say the id of each call whose answer it was told is durable."""
    asyncio.run(_work(line, uri, folder, steps, calls))


async def _work(line: Connection, uri: str, folder: Path, steps: int, calls: list[UUID]) -> None:
    step = Countdown(steps)
    for module, name in ((os, "pwrite"), (os, "fsync"), (os, "ftruncate"), (os, "unlink"), (fcntl, "flock")):
        step.before(module, name)
    store = PostgresEventStore(uri, process=2)
    append = store.append

    async def stepping(entries: Append) -> int:
        step()
        position = await append(entries)
        step()
        return position

    store.append = stepping  # type: ignore[method-assign]
    journal = AnswerJournal(folder, process=f"{os.getpid():016x}")
    for call in calls:
        await journal.keep(answer(call))
        line.send(call)
    await ReplayJournal(store, journal)()
    journal.close()
    store.close()
