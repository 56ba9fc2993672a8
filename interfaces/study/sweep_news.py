"""A sweep's life as it is lived: each event of its stream in few words, and what it came to."""

import os
from collections.abc import Sequence

from domain.events import RecordedEvent
from domain.sweep_pace import remaining_seconds
from domain.sweeps import LEFT_TO_SERVERS, SweepState, SweepStepFinished, evolve
from interfaces.study.words import Json


class SweepLife:
    """What is known of a sweep, told event by event."""

    def __init__(self) -> None:
        self.state = SweepState()

    @property
    def is_over(self) -> bool:
        """Whether nobody is going to go on with it by themselves."""
        goes_on = LEFT_TO_SERVERS if self.state.requested is not None else ("running",)
        return self.state.status not in goes_on

    def hear(self, event: RecordedEvent) -> tuple[str, Json]:
        """The event's name, and how far the sweep is from there on."""
        self.state = evolve(self.state, event)
        fact = event.fact
        name = fact.stored_name.split(".")[1]
        told: Json = {
            "version": event.version,
            "position": event.position,
            "occurred_at": event.envelope.occurred_at.isoformat(),
            "status": self.state.status,
            "done": len(self.state.steps),
            "of": len(self.wanted) or 1,  # a method that finds the number of clusters makes one step
        }
        if isinstance(fact, SweepStepFinished):
            told |= {"k": fact.metrics.k, "silhouette": fact.metrics.silhouette, "duration_s": fact.duration_s}
            told["remaining_s"] = self._remaining_s()
        reason = getattr(fact, "reason", None)
        return name, told if reason is None else {**told, "reason": reason}

    @property
    def wanted(self) -> Sequence[int]:
        """The K of all its steps."""
        asked = self.state.started or self.state.requested
        return () if asked is None else asked.config.k_values

    def _remaining_s(self) -> float | None:
        """As if this machine computed the rest: where it is computed is nothing that the log says."""
        durations_s = {k: step.duration_s for k, step in self.state.steps.items()}
        missing = [k for k in self.wanted if k not in durations_s]
        seconds = remaining_seconds(durations_s, missing, at_once=os.cpu_count() or 1)
        return None if seconds is None else round(seconds, 1)
