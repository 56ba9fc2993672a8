"""Go on with a sweep by its id: what it needs is gathered from the record, and the missing steps are computed."""

from uuid import UUID

from application.compute import LOCAL
from application.notebook import Context
from application.recall_sweep import RecallSweep
from application.run_sweep import RunSweep
from application.sweep_progress import Progress
from application.sweep_turns import SweepUnderWay, SweepWasCancelled
from domain.errors import Unavailable
from domain.sweeps import LEFT_TO_SERVERS, SweepState


class ResumeSweep:
    """Resumes; nothing is needed that only whoever began the sweep knew."""

    def __init__(self, run: RunSweep, recall: RecallSweep) -> None:
        self._run = run
        self._recall = recall

    async def __call__(
        self,
        sweep_id: UUID,
        context: Context,
        *,
        compute: str | None = None,
        unasked: bool = False,
        progress: Progress | None = None,
    ) -> SweepState:
        """Bring a sweep to its end, whoever has left it, and return it; a finished one as it is.

        compute: where; without it, where it was asked to be computed
        unasked: only if it is to go on by itself: nobody has cancelled it meanwhile, and it has not failed
        Raises NotFound, SweepUnderWay while a live process runs it, SweepWasCancelled, Unavailable.
        """
        await self._run.turns.known(sweep_id)
        async with self._run.turns.turn(sweep_id) as state:
            if state.status == "finished" or (unasked and state.status not in LEFT_TO_SERVERS):
                return state
            asked = None if state.requested is None else state.requested.compute
            recalling = self._recall(sweep_id, state, context, progress=progress)
            try:
                request = await self._run.turns.unless_cancelled(sweep_id, state, recalling)
            except (Unavailable, SweepUnderWay, SweepWasCancelled):
                raise
            except Exception as error:
                await self._run.turns.failed(sweep_id, error, context)
                raise
            return await self._run.go_on(
                sweep_id, state, request, context, compute=compute or asked or LOCAL, progress=progress
            )
