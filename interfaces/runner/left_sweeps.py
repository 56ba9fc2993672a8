"""Run what was asked for and left: the log is the queue, and whoever holds a sweep's claim runs it."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from application.sweep_progress import Progress
from application.sweep_turns import SweepUnderWay
from domain.errors import StudyError, Unavailable
from interfaces.study import Study
from projections.sweep_queries import LeftSweep

MOST_AT_ONCE = 4
LOOK_SECONDS = 0.5
WAIT_SECONDS = 5.0  # before a sweep is tried again that somebody else runs, or that the store would not let begin

log = structlog.get_logger(__name__)


class LeftSweeps:
    """Runs them, a few at once, the ones that were asked for first first."""

    def __init__(self, study: Study, told: Callable[[UUID], Progress], ended: Callable[[UUID], None]) -> None:
        """told: what a sweep's progress is told to; ended: is called when nobody here runs a sweep any more"""
        self._study = study
        self._told = told
        self._ended = ended
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        self._not_before: dict[UUID, float] = {}

    async def run(self, *, idle_seconds: float | None) -> None:
        """Look for sweeps and run them; returns once there was none for so long, or never."""
        clock = self._study.notebook.clock
        idle_since = clock.monotonic()
        try:
            while idle_seconds is None or clock.monotonic() - idle_since < idle_seconds:
                if await self._begin() or self._under_way:
                    idle_since = clock.monotonic()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    async def _begin(self) -> bool:
        """Begin what there is room for; whether there is anything to be run."""
        try:
            left = await self._study.sweeps.left_to_servers()
        except Unavailable as error:
            log.debug("nobody can say which sweeps are left", reason=str(error))
            return False
        now = self._study.notebook.clock.monotonic()
        for sweep in left:
            if len(self._under_way) >= MOST_AT_ONCE:
                break
            if sweep.sweep_id not in self._under_way and self._not_before.get(sweep.sweep_id, now) <= now:
                self._under_way[sweep.sweep_id] = asyncio.create_task(self._run(sweep))
        return bool(left)

    async def _run(self, sweep: LeftSweep) -> None:
        sweep_id, clock = sweep.sweep_id, self._study.notebook.clock
        try:
            # What is shown as left may have been cancelled since.
            await self._study.sweeps.resume(
                sweep_id, self._study.context(sweep.actor), unasked=True, progress=self._told(sweep_id)
            )
        except (SweepUnderWay, Unavailable) as error:
            log.info("a sweep waits", sweep=str(sweep_id), reason=str(error))
            self._not_before[sweep_id] = clock.monotonic() + WAIT_SECONDS
        except StudyError as error:
            log.warning("a sweep has ended", sweep=str(sweep_id), reason=str(error))
        except Exception:
            log.exception("a sweep has failed", sweep=str(sweep_id))
            self._not_before[sweep_id] = clock.monotonic() + WAIT_SECONDS
        finally:
            del self._under_way[sweep_id]
            self._ended(sweep_id)
