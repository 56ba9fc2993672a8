"""What a series shows of each quarter-hour, half-hour, hour and day: of a provider, and of each of its models.

Rollups have a row for each outcome, with histograms: a month of hours is many of those, and their percentiles are
rarely asked for. A row here holds sums alone, as whole numbers one behind the other, so that a month of hours is read
as one block of them. Half-hours are those of zones whose hours begin in the middle of others'.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from struct import Struct
from typing import Any

from projections.read_model import Table
from projections.tallies import Kind, Tally

SPANS = (15, 30, 60, 1440)  # minutes
ALL = ""  # stands there for all models together
DIGITS = 10  # of a cost, behind the point
SUMS = (
    *("calls", "success", "failed", "joined", "cached", "tokens_total", "tokens_calls", "latency_us", "latency_calls"),
    *("cost_whole", "cost_rest", "cost_unknown", "saved_whole", "saved_rest", "saved_unknown"),
)
GIVEN = ("joined", "cached")
# The columns of a rollup added up, as SUMS of a row.
AS_SUMS = " || ".join(
    f"int8send({each})"
    for each in (
        *SUMS[: SUMS.index("cost_whole")],
        *("trunc(cost)::bigint", f"((cost - trunc(cost)) * {10**DIGITS})::bigint", "cost_unknown"),
        *("trunc(saved)::bigint", f"((saved - trunc(saved)) * {10**DIGITS})::bigint", "saved_unknown"),
    )
)
_RECORD = Struct(f">{len(SUMS)}q")

POINTS = Table(
    name="rollup_points",
    columns={
        "of_models": "boolean NOT NULL",
        "span": "int NOT NULL",
        "at": "timestamptz NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "sums": "bytea NOT NULL",  # SUMS, big-endian, of 8 bytes each
    },
    key=("of_models", "span", "at", "provider", "model"),
)
Key = tuple[bool, int, datetime, str, str]


class Point:
    """Some calls, added up. cost, saved: in units of the last digit."""

    __slots__ = ("cost", "cost_unknown", "counts", "saved", "saved_unknown")

    def __init__(self) -> None:
        self.counts = [0] * 9
        self.cost = self.cost_unknown = self.saved = self.saved_unknown = 0

    def take(self, outcome: str, tally: Tally) -> None:
        """Count calls with an outcome."""
        cost = int(tally.cost.scaleb(DIGITS))
        if outcome in GIVEN:
            self.counts[SUMS.index(outcome)] += tally.calls
            self.saved += cost
            self.saved_unknown += tally.cost_unknown
            return
        self.counts[0] += tally.calls
        if outcome in SUMS:
            self.counts[SUMS.index(outcome)] += tally.calls
        measured = (tally.tokens[2], tally.tokens_calls, tally.latency.sum_us, tally.latency.calls)
        for place, more in enumerate(measured, start=SUMS.index("tokens_total")):
            self.counts[place] += more
        self.cost += cost
        self.cost_unknown += tally.cost_unknown

    def merge(self, other: "Point") -> None:
        """Count the calls of another one as well."""
        self.counts = [one + another for one, another in zip(self.counts, other.counts, strict=True)]
        self.cost += other.cost
        self.cost_unknown += other.cost_unknown
        self.saved += other.saved
        self.saved_unknown += other.saved_unknown

    def row(self) -> tuple[Any, ...]:
        """As the table keeps it."""
        whole = 10**DIGITS
        amounts = (*divmod(self.cost, whole), self.cost_unknown, *divmod(self.saved, whole), self.saved_unknown)
        return (_RECORD.pack(*self.counts, *amounts),)

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Point":
        """What the table kept."""
        point = cls()
        *point.counts, cost, rest, point.cost_unknown, saved, saved_rest, point.saved_unknown = _RECORD.unpack(row[0])
        point.cost, point.saved = cost * 10**DIGITS + rest, saved * 10**DIGITS + saved_rest
        return point


def points_of(fresh: Mapping[Kind, Tally]) -> dict[Key, Point]:
    """The rows of all spans, each added up from those of the span before it."""
    shorter: dict[Key, Point] = {}
    for kind, tally in fresh.items():
        at = begin(kind.minute, SPANS[0])
        for of_models, model in ((False, ALL), (True, kind.model)):
            key = (of_models, SPANS[0], at, kind.provider, model)
            shorter.setdefault(key, Point()).take(kind.outcome, tally)
    rows = dict(shorter)
    for span in SPANS[1:]:
        shorter = _longer(shorter.items(), span)
        rows |= shorter
    return rows


def _longer(points: Iterable[tuple[Key, Point]], span: int) -> dict[Key, Point]:
    longer: dict[Key, Point] = {}
    for (of_models, _, at, provider, model), point in points:
        key = (of_models, span, begin(at, span), provider, model)
        longer.setdefault(key, Point()).merge(point)
    return longer


def begin(at: datetime, span: int) -> datetime:
    """When the span begins in which a time lies, in UTC."""
    if span == SPANS[-1]:
        return at.replace(hour=0, minute=0)
    return at.replace(minute=at.minute - at.minute % span)
