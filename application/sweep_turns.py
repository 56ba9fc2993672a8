"""Whose turn it is at a sweep, what state it is in, and whether somebody has cancelled it meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import reduce
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from application.notebook import Context, Notebook
from application.ports import AppendConflict, Claim, ClaimHeld
from domain.errors import Conflict, NotFound, StudyError, Unavailable
from domain.sweeps import SweepCancelled, SweepFailed, SweepState, evolve

LOOK_SECONDS = 1.0  # between looks at whether the sweep was cancelled

T = TypeVar("T")

log = structlog.get_logger(__name__)


class SweepUnderWay(Conflict):
    """A live process runs this sweep."""


class SweepWasCancelled(Conflict):
    """Somebody cancelled the sweep while it ran."""


class SweepTurns:
    """Turns at sweeps: one process at a time, and within it one task."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def load(self, sweep_id: UUID) -> SweepState:
        """A sweep's state; the empty state, of version 0, if there is none of this id."""
        return reduce(evolve, await self.notebook.store.read_stream(sweep_id), SweepState())

    async def known(self, sweep_id: UUID) -> SweepState:
        """The state of a sweep that there is. Raises NotFound."""
        state = await self.load(sweep_id)
        if not state.version:
            raise NotFound(f"There is no sweep {sweep_id}; `study sweep list` shows the ones there are")
        return state

    @asynccontextmanager
    async def turn(self, sweep_id: UUID) -> AsyncIterator[SweepState]:
        """Sole right to go on with a sweep, for as long as the block runs and the process lives; the state it is in.

        Within a process one waits for the other. Raises SweepUnderWay while another process has it, SweepWasCancelled
        if that is how the one ended that was waited for.
        """
        turn = self._turns.setdefault(sweep_id, asyncio.Lock())
        waited = turn.locked()
        async with turn:
            claim = Claim(key=f"sweep:{sweep_id}", holder=sweep_id)
            try:
                await self.notebook.take(claim)
            except ClaimHeld:
                raise await self._under_way(sweep_id) from None
            try:
                state = await self.load(sweep_id)
                if waited and state.status == "cancelled":
                    raise SweepWasCancelled(f"Sweep {sweep_id} was cancelled", existing_id=str(sweep_id))
                yield state
            finally:
                await asyncio.shield(self._free(claim))

    async def unless_cancelled(self, sweep_id: UUID, state: SweepState, work: Coroutine[Any, Any, T]) -> T:
        """What comes of work that is done for a sweep before it goes on. Raises SweepWasCancelled."""

        async def look() -> None:
            for event in await self.notebook.store.read_stream(sweep_id, after_version=state.version):
                if isinstance(event.fact, SweepCancelled):
                    raise was_cancelled(sweep_id, event.envelope.actor, event.fact)

        try:
            return await while_looking(self.notebook, look, work)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None

    async def failed(self, sweep_id: UUID, error: Exception, context: Context) -> None:
        """Record why a sweep can't go on, unless it has gone on meanwhile."""
        state = await self.load(sweep_id)
        if not state.version:
            return  # it never began
        with suppress(AppendConflict):
            entry = self.notebook.entry(context, sweep_id, state.version + 1, failure_of(error))
            await self.notebook.write(entry)

    async def _free(self, claim: Claim) -> None:
        try:
            await self.notebook.free(claim)
        except Unavailable as error:
            log.warning("a sweep stays this process's own until it ends", sweep=str(claim.holder), reason=str(error))

    async def _under_way(self, sweep_id: UUID) -> SweepUnderWay:
        process = (await self.load(sweep_id)).process
        return SweepUnderWay(
            f"Sweep {sweep_id} is under way in {'another process' if process is None else f'process {process}'}; "
            f"`study sweep show {sweep_id}` shows how far it is, `study sweep cancel {sweep_id}` ends it",
            existing_id=str(sweep_id),
        )


def was_cancelled(sweep_id: UUID, by: str, fact: SweepCancelled) -> SweepWasCancelled:
    """The error of whoever ran it."""
    return SweepWasCancelled(
        f"Sweep {sweep_id} was cancelled by {by}: {fact.reason}; what is finished is kept, and "
        f"`study sweep resume {sweep_id}` goes on",
        existing_id=str(sweep_id),
    )


async def while_looking(notebook: Notebook, look: Callable[[], Awaitable[None]], work: Coroutine[Any, Any, T]) -> T:
    """What comes of the work, with a look now and then that ends it by what it raises. Raises an exception group."""

    async def for_ever() -> None:
        while True:
            await notebook.clock.sleep(LOOK_SECONDS)
            try:
                await look()
            except Unavailable as error:
                log.debug("nobody can say whether the sweep was cancelled", reason=str(error))

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(for_ever())
        result = await work
        looking.cancel()
    return result


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; what came after it came of it."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failure_of(error: BaseException) -> SweepFailed:
    """Why a sweep can't go on, as it is recorded."""
    said = str(error) if isinstance(error, StudyError) else f"{type(error).__name__}: {error}"
    return SweepFailed(reason=f"{said}; `study sweep resume`, or the same command again, goes on from here")
