"""Keeps answers in a journal and replays them, and is killed before its nth step: a system call, or an append.

    python -m tests.support.dying_journal DATABASE_URL FOLDER STEP CALL_ID...

Prints "kept" and the id of each call whose answer it was told is durable.
"""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from application.ports import Append
from application.replay_journal import ReplayJournal
from infrastructure.answer_journal import AnswerJournal
from infrastructure.event_store.store import PostgresEventStore
from tests.infrastructure.test_answer_journal import answer


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


async def main(uri: str, folder: Path, steps: int, calls: list[UUID]) -> None:
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
        print("kept", call, flush=True)
    await ReplayJournal(store, journal)()
    journal.close()
    store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), [UUID(word) for word in sys.argv[4:]]))
