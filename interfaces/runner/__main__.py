"""`python -m interfaces.runner`: told on stdin what its server was told; lives until that is closed.

stdin: one JSON line, {"flags": {…}, "idle_seconds": …}. Its end means that the server has stopped, or was killed.
stdout: one JSON line for each piece of news, {"sweep_id", "stage", "done", "total", "remaining_s"}, or {"sweep_id"}
alone when nobody here runs that sweep any more.
"""

import asyncio
import json
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Any
from uuid import UUID

from application.sweep_progress import Progress
from domain.errors import StudyError
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from interfaces.logs import configure_logs
from interfaces.runner.left_sweeps import LeftSweeps
from interfaces.study import Study

NICENESS = 5  # whoever asks the server something comes first
RECORDING_SECONDS = 10.0  # for what has to be recorded when the server is gone; then the process ends anyhow
GONE_SECONDS = 1.0  # within which it is known that the server has ended
TELL_SECONDS = 0.2  # between two pieces of news of one stage


def main() -> None:
    """Run what is left until the server is gone."""
    order = json.loads(sys.stdin.readline())
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    settings = read_settings(**order["flags"])
    configure_logs(settings)
    gone = threading.Event()
    try:
        asyncio.run(_serve(settings, order["idle_seconds"], gone))
    except StudyError as error:
        sys.exit(f"Error: {error}")
    except OSError:
        if not gone.wait(GONE_SECONDS):
            raise  # else its folder of metrics went with the server
    os._exit(0)  # all is recorded and closed; a step that is still being computed is nobody's any more


async def _serve(settings: Any, idle_seconds: float | None, gone: threading.Event) -> None:
    opened: list[Study] = []
    task, loop = asyncio.current_task(), asyncio.get_running_loop()

    def server_is_gone() -> None:
        for study in opened:
            study.stopping.reason = "the server stopped"
        if task is not None:
            task.cancel()

    threading.Thread(target=_wait_for_the_end, args=(loop, server_is_gone, gone), daemon=True).start()
    with suppress(asyncio.CancelledError):
        async with open_study(settings, serving=True) as study:
            opened.append(study)
            with suppress(asyncio.CancelledError):
                await LeftSweeps(study, _teller, lambda sweep_id: _say({"sweep_id": str(sweep_id)})).run(
                    idle_seconds=idle_seconds
                )


def _wait_for_the_end(loop: asyncio.AbstractEventLoop, server_is_gone: Any, gone: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin's own read, whose lock would be held when we end first
        pass
    gone.set()
    with suppress(RuntimeError):  # the loop has ended already
        loop.call_soon_threadsafe(server_is_gone)
    time.sleep(RECORDING_SECONDS)
    os._exit(0)  # a step that is being computed can't be stopped


def _teller(sweep_id: UUID) -> Progress:
    told_at: dict[str, float] = {}

    def tell(stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
        now = time.monotonic()
        if done < total and now - told_at.get(stage, -TELL_SECONDS) < TELL_SECONDS:
            return
        told_at[stage] = now
        _say({"sweep_id": str(sweep_id), "stage": stage, "done": done, "total": total, "remaining_s": remaining_s})

    return tell


def _say(news: dict[str, Any]) -> None:
    with suppress(OSError):  # nobody listens any more
        sys.stdout.write(json.dumps(news) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
