"""Say of the sweeps of dead processes that nobody runs them any more."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict
from application.recover_calls import Processes
from domain.sweeps import SweepInterrupted, SweepState, evolve


class RunningSweep(Struct, frozen=True):
    """A sweep that a process said it runs."""

    sweep_id: UUID
    process: str


class RunningSweeps(Protocol):
    """The read model's list of sweeps under way."""

    async def running_sweeps(self) -> Sequence[RunningSweep]:
        """All of them."""


class RecoverSweeps:
    """Looks for sweeps whose process has died. Whoever resumes one need not wait for it."""

    def __init__(
        self, notebook: Notebook, sweeps: RunningSweeps, processes: Processes, *, after_seconds: float
    ) -> None:
        self._notebook = notebook
        self._sweeps = sweeps
        self._processes = processes
        self._after_seconds = after_seconds

    async def __call__(self, context: Context) -> int:
        """Mark every such sweep as interrupted; returns how many were marked now.

        A process counts as dead at the second of two looks, as for calls.
        """
        running = [sweep for sweep in await self._sweeps.running_sweeps() if sweep.process != self._notebook.process]
        if not running:
            return 0
        numbers = {int(sweep.process, 16) for sweep in running}
        dead = await self._processes.processes_in_doubt(sorted(numbers), after_seconds=self._after_seconds)
        marked = 0
        for sweep in running:
            since = dead.get(int(sweep.process, 16))
            if since is not None:
                marked += await self._mark(sweep, since, context)
        return marked

    async def _mark(self, sweep: RunningSweep, since: datetime, context: Context) -> int:
        state = reduce(evolve, await self._notebook.store.read_stream(sweep.sweep_id), SweepState())
        if (state.status, state.process) != ("running", sweep.process):
            return 0  # somebody else goes on with it
        fact = SweepInterrupted(
            reason=f"process {sweep.process} died; `study sweep resume {sweep.sweep_id}` goes on from its last step",
            dead_process=sweep.process,
            first_seen_dead_at=since,
        )
        try:
            await self._notebook.write(self._notebook.entry(context, sweep.sweep_id, state.version + 1, fact))
        except AppendConflict:
            return 0  # somebody else was faster
        return 1
