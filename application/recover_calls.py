"""Mark the calls of dead processes: whether the provider answered, and charged, nobody knows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict
from domain.calls import CallAnswered, CallCancelled, CallFailed, CallFoundInDoubt

ENDINGS = (CallAnswered, CallFailed, CallCancelled, CallFoundInDoubt)


class OpenCall(Struct, frozen=True):
    """A call that was requested and has not ended."""

    call_id: UUID
    process: str


class OpenCalls(Protocol):
    """The read model's list of calls that have not ended."""

    async def open_calls(self) -> Sequence[OpenCall]:
        """All of them, oldest first."""


class Processes(Protocol):
    """Who is alive."""

    async def processes_in_doubt(self, processes: Sequence[int], *, after_seconds: float) -> dict[int, datetime]:
        """Those that are gone for good, and since when they were seen so."""


class RecoverCalls:
    """Looks for calls whose process has died."""

    def __init__(self, notebook: Notebook, calls: OpenCalls, processes: Processes, *, after_seconds: float) -> None:
        self._notebook = notebook
        self._calls = calls
        self._processes = processes
        self._after_seconds = after_seconds

    async def __call__(self, context: Context) -> int:
        """Mark every such call as in doubt; returns how many were marked now.

        A process counts as dead at the second of two looks, so the first call after a crash may mark nothing.
        """
        open_calls = [call for call in await self._calls.open_calls() if call.process != self._notebook.process]
        if not open_calls:
            return 0
        numbers = {int(call.process, 16) for call in open_calls}
        dead = await self._processes.processes_in_doubt(sorted(numbers), after_seconds=self._after_seconds)
        marked = 0
        for call in open_calls:
            since = dead.get(int(call.process, 16))
            if since is not None:
                marked += await self._mark(call, since, context)
        return marked

    async def _mark(self, call: OpenCall, since: datetime, context: Context) -> int:
        events = await self._notebook.store.read_stream(call.call_id)
        if any(isinstance(event.fact, ENDINGS) for event in events):
            return 0
        fact = CallFoundInDoubt(dead_process=call.process, first_seen_dead_at=since)
        try:
            await self._notebook.write(self._notebook.entry(context, call.call_id, len(events) + 1, fact))
        except AppendConflict:
            return 0  # it was answered, or marked by somebody else, meanwhile
        return 1
