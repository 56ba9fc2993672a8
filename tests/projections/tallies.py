"""A read model for tests: it counts, so that an event applied twice shows, and it stumbles when told to."""

from collections.abc import Sequence
from uuid import UUID

from domain.events import RecordedEvent
from domain.sweeps import SweepFailed
from projections.read_model import Change, Insert, ReadModel, Table, View

TALLIES = Table(
    name="tallies",
    columns={"stream_id": "uuid NOT NULL", "seen": "int NOT NULL", "reason": "text NOT NULL"},
    key=("stream_id",),
)
_count = Insert(
    TALLIES,
    on_conflict="ON CONFLICT (stream_id) DO UPDATE SET seen = tallies.seen + excluded.seen, reason = excluded.reason",
)
STREAM = UUID(int=77)


class Stumbles:
    """Fails on sweeps that failed for the reason `bad`, for as long as `broken`."""

    broken = True

    def __call__(self, events: Sequence[RecordedEvent]) -> list[Change]:
        reasons = [event.fact.reason for event in events if isinstance(event.fact, SweepFailed)]
        if self.broken and "bad" in reasons:
            raise ValueError("a bad reason")
        return _count([(STREAM, len(reasons), reasons[-1])]) if reasons else []


def tally_model(changes: Stumbles | None = None, *, version: int = 1) -> ReadModel:
    """Counts failed sweeps."""
    return ReadModel(
        name="tally",
        version=version,
        reads=(SweepFailed,),
        tables=(TALLIES,),
        views=(View(name="tallies", select="SELECT stream_id, seen, reason FROM {schema}.tallies"),),
        changes=changes or Stumbles(),
    )


def happened(reason: str = "fine") -> SweepFailed:
    """An event that tally models count."""
    return SweepFailed(reason=reason)
