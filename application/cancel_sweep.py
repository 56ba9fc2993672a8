"""Cancel a sweep: an event, which the process that runs it finds within a second, wherever it is."""

from uuid import UUID

from application.notebook import Context
from application.ports import AppendConflict
from application.sweep_turns import SweepTurns
from domain.errors import Conflict
from domain.sweeps import SweepCancelled


class CancelSweep:
    """Cancels; what is finished stays, and the sweep can be resumed."""

    def __init__(self, turns: SweepTurns) -> None:
        self._notebook = turns.notebook
        self._turns = turns

    async def __call__(self, sweep_id: UUID, context: Context, *, reason: str = "asked for") -> int:
        """Returns the position. To cancel what is cancelled changes nothing.

        Raises NotFound, and Conflict for a finished sweep.
        """
        while True:
            state = await self._turns.known(sweep_id)
            if state.status == "finished":
                raise Conflict(f"Sweep {sweep_id} is finished; there is nothing to cancel", existing_id=str(sweep_id))
            if state.status == "cancelled":
                events = await self._notebook.store.read_stream(sweep_id, after_version=state.version - 1)
                return events[-1].position
            try:
                fact = SweepCancelled(reason=reason)
                return await self._notebook.write(self._notebook.entry(context, sweep_id, state.version + 1, fact))
            except AppendConflict:
                continue  # a step was finished meanwhile
