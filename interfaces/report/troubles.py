"""What went wrong on the way, and what stood in for it: a report that hides that can't be relied on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from domain.events import RecordedEvent
from domain.sweeps import SweepCancelled, SweepFailed, SweepInterrupted, SweepResumed
from interfaces.report.wording import SHOWN_CHARACTERS, clipped

Trouble = tuple[str, str]

MOST_REASONS = 10


def stops_of(events: Sequence[RecordedEvent]) -> list[Trouble]:
    """When the sweep stopped and went on, as (when, what)."""
    return [(f"{event.envelope.occurred_at:%Y-%m-%d %H:%M:%S} UTC", told) for event in events if (told := _told(event))]


def _told(event: RecordedEvent) -> str:
    match event.fact:
        case SweepFailed(reason=reason):
            return f"The sweep failed: {clipped(reason, SHOWN_CHARACTERS)}"
        case SweepCancelled(reason=reason):
            return "The sweep was cancelled" + (f": {clipped(reason, SHOWN_CHARACTERS)}" if reason else "")
        case SweepInterrupted(reason=reason):
            return "The sweep was interrupted" + (f": {clipped(reason, SHOWN_CHARACTERS)}" if reason else "")
        case SweepResumed(finished_steps=finished):
            return f"It went on, with {finished} steps finished"
        case _:
            return ""


def failed_calls(purpose: str, calls: Sequence[Mapping[str, Any]]) -> list[Trouble]:
    """Calls that had no answer, counted by why; of many reasons the commonest, and how many calls had another."""
    reasons = Counter(_reason(call) for call in calls).most_common()
    told = [(purpose, f"{_calls(count)} failed: {reason}") for reason, count in reasons[:MOST_REASONS]]
    rest = reasons[MOST_REASONS:]
    if rest:
        others = f"{len(rest):,} other reason{'' if len(rest) == 1 else 's'}"
        told.append((purpose, f"{_calls(sum(count for _, count in rest))} failed for {others}"))
    return told


def _calls(count: int) -> str:
    return f"{count:,} {'call' if count == 1 else 'calls'}"


def _reason(call: Mapping[str, Any]) -> str:
    error = call.get("error") or {}
    said = error.get("message") or error.get("kind") or "no reason was given"
    return clipped(" ".join(str(said).split()), SHOWN_CHARACTERS)


def repeated_attempts(purpose: str, calls: Sequence[Mapping[str, Any]]) -> list[Trouble]:
    """Calls that were answered at a later attempt."""
    late = [call["attempts"] - 1 for call in calls if call["status"] == "success" and (call["attempts"] or 0) > 1]
    if not late:
        return []
    calls_told = "1 call was" if len(late) == 1 else f"{len(late):,} calls were"
    return [(purpose, f"{calls_told} answered at a later attempt, after {sum(late):,} that failed")]


def fallbacks(sweep: Mapping[str, Any]) -> list[Trouble]:
    """Names and centroids that are not what was asked for, since a summary failed."""
    fell_back = [str(cluster["cluster"]) for cluster in sweep["clusters"] if cluster.get("fell_back")]
    rounds = [done for done in sweep.get("rounds") or () if done["fell_back"]]
    told = []
    if fell_back:
        which = f"cluster{'' if len(fell_back) == 1 else 's'} {', '.join(fell_back)}"
        told.append(("Names", f"No summary could be had for {which}: the most representative text is the name"))
    told += [
        (
            f"K = {done['k']}, round {done['round']}",
            f"{done['fell_back']} of {len(done['summaries'])} centroids stayed means, since their summary failed",
        )
        for done in rounds
    ]
    return told


def doubts(sweep: Mapping[str, Any]) -> list[Trouble]:
    """Steps whose clusters are not what K promises: iterations ran out, or clusters stayed empty."""
    told = []
    for step in sweep["steps"]:
        if step.get("converged") is False:
            told.append((f"K = {step['k']}", "The best restart ran out of iterations before nothing changed"))
        if step.get("empty_clusters"):
            told.append((f"K = {step['k']}", f"{step['empty_clusters']} clusters stayed empty"))
    return told
