"""Calls added up by the minute, quarter-hour, hour and day in UTC in which they were asked: the tables.

Rollups hold what is over and never changes: calls that ended, and answers that were given without a call. What is not
over lies beside them as it is: calls under way or in doubt, and those who wait for another's answer. Hours and days of
any time zone are sums of these spans. `projections/rollups.py` says what events do to them.
"""

from collections.abc import Sequence

from domain.calls import (
    CallAnswered,
    CallAttemptFailed,
    CallCancelled,
    CallFailed,
    CallFoundInDoubt,
    CallJoined,
    CallRequested,
    CallServedFromCache,
)
from domain.events import RecordedEvent
from domain.latency import BEGINNINGS
from projections.points import POINTS
from projections.read_model import ReadModel, View
from projections.rollups import FAILURES, OPEN, ROLLUPS, WAITING, RollUp


def changes(events: Sequence[RecordedEvent]) -> list[RollUp]:
    """What the events add to the rows that are there: it takes those into account, and nothing else."""
    return [RollUp(tuple(events))] if events else []


_SPANS = {"minutes": 1, "quarter_hours": 15, "hours": 60, "days": 1440}


def _rollup_view(name: str, minutes: int) -> View:
    return View(
        name=f"analytics_{name}",
        select=f"""
            SELECT at, provider, model, modality, outcome, calls, attempts, cost, cost_unknown, tokens_calls,
                tokens_prompt, tokens_completion, tokens_total, tokens_cached, latency_calls,
                latency_us / 1000.0 AS latency_ms_sum, latency_shortest_us / 1000.0 AS latency_ms_min,
                latency_longest_us / 1000.0 AS latency_ms_max, first_token_calls,
                first_token_us / 1000.0 AS first_token_ms_sum
            FROM {{schema}}.rollups WHERE span = {minutes}
        """,  # noqa: S608 - our own names
    )


# The histogram's records, one a row, for percentiles over days in SQL.
LATENCIES_VIEW = View(
    name="analytics_latencies",
    select=f"""
        WITH beginnings AS (SELECT ARRAY[{", ".join(map(str, BEGINNINGS))}]::bigint[] AS us)
        SELECT r.at, r.provider, r.model, r.modality,
            coalesce(b.us[record.bucket], 0) / 1000.0 AS from_ms, b.us[record.bucket + 1] / 1000.0 AS to_ms,
            record.calls
        FROM {{schema}}.rollups r CROSS JOIN beginnings b
        CROSS JOIN LATERAL (
            SELECT ('x' || encode(substr(r.latency, place * 6 + 1, 2), 'hex'))::bit(16)::int AS bucket,
                ('x' || encode(substr(r.latency, place * 6 + 3, 4), 'hex'))::bit(32)::bigint AS calls
            FROM generate_series(0, length(r.latency) / 6 - 1) AS place
        ) AS record
        WHERE r.span = 1440
    """,  # noqa: S608 - our own numbers
)

ERRORS_VIEW = View(
    name="analytics_errors",
    select="""
        SELECT at, provider, model, modality, kind, attempts, calls, last_at FROM {schema}.rollup_failures
        WHERE span = 1440
    """,
)

OPEN_VIEW = View(
    name="analytics_open",
    select="""
        SELECT call_id, created_at, provider, model, modality,
            CASE WHEN in_doubt THEN 'in_doubt' ELSE 'requested' END AS status
        FROM {schema}.rollup_open
    """,
)

ANALYTICS = ReadModel(
    name="analytics",
    version=3,
    reads=(
        CallRequested,
        CallAttemptFailed,
        CallAnswered,
        CallFailed,
        CallCancelled,
        CallFoundInDoubt,
        CallJoined,
        CallServedFromCache,
    ),
    tables=(ROLLUPS, POINTS, FAILURES, OPEN, WAITING),
    views=(*(_rollup_view(*each) for each in _SPANS.items()), LATENCIES_VIEW, ERRORS_VIEW, OPEN_VIEW),
    changes=changes,
)
