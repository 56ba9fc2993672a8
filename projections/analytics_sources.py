"""Where analytics come from: rollups of whole spans, calls at the edges; or calls alone, one by one.

Every source has the same columns, a rollup's, so that what is added up doesn't depend on where it comes from. Calls
alone answer what rollups don't know: as of a position, of a group, of an actor.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, get_args

import msgspec

from domain.calls import Modality
from domain.errors import Rejected
from domain.latency import BEGINNINGS, LONGEST_MS
from projections.call_queries import IN_GROUP, STATUSES, CallFilter, calls_at
from projections.paging import last_counted
from projections.points import AS_SUMS, POINTS
from projections.points import SPANS as SPANS_OF_POINTS
from projections.raw_calls import STATUS
from projections.read_model import Table
from projections.rollups import FAILURES, ROLLUPS, SPANS
from projections.spans import EARLIEST, cover
from projections.tallies import MOST_TOKENS

LATEST_TIME = datetime(3000, 1, 1, tzinfo=UTC)
COLUMNS = tuple(name for name in ROLLUPS.columns if name != "span")
FAILURE_COLUMNS = tuple(name for name in FAILURES.columns if name != "span")
_BEGINNINGS = f"{{{','.join(map(str, BEGINNINGS))}}}"  # as text: a list would be converted for each question
NO_MODEL = "''::text"  # where models aren't told apart
IN_DOUBT_OR_REQUESTED = "CASE WHEN c.in_doubt THEN 'in_doubt' ELSE 'requested' END"


class Source(NamedTuple):
    """A SELECT, in brackets, and its parameters."""

    sql: str
    parameters: dict[str, Any]


def checked(wanted: CallFilter) -> None:
    """Raises Rejected for an unknown status or modality, and for times that are none or the wrong way round."""
    if wanted.status is not None and wanted.status not in STATUSES:
        raise Rejected(f"{wanted.status!r} is no status; use one of {', '.join(STATUSES)}", fields=("status",))
    if wanted.modality is not None and wanted.modality not in get_args(Modality):
        raise Rejected(
            f"{wanted.modality!r} is no modality; use one of {', '.join(get_args(Modality))}", fields=("modality",)
        )
    for name in ("since", "until"):
        at = getattr(wanted, name)
        if at is not None and not EARLIEST <= at <= LATEST_TIME:
            raise Rejected(f"{name}: {at.isoformat()} is not between 1900 and 3000", fields=(name,))
    if wanted.since is not None and wanted.until is not None and wanted.since > wanted.until:
        raise Rejected(
            f"since, {wanted.since.isoformat()}, is after until, {wanted.until.isoformat()}; "
            "exchange them, or leave one out",
            fields=("since", "until"),
        )


def source_of(wanted: CallFilter, *, as_of: int | None, longest_span: int = SPANS[-1]) -> Source:
    """All calls that are wanted, as rows that are shaped like a rollup's. The filter is checked.

    longest_span: minutes; no row spans more, so that rows may be told apart by their time
    """
    if _needs_calls(wanted, as_of):
        given = [] if wanted.group_id is not None else [_given(as_of, wanted)]
        return _all_of(wanted, as_of, [" UNION ALL ".join([_calls(as_of, wanted), *given])])
    periods, parameters = _periods(wanted, [span for span in SPANS if span <= longest_span])
    pieces = _pieces(wanted, ROLLUPS, COLUMNS, _edges(wanted), periods)
    return Source(_united([*pieces.values(), *_beside(wanted)]), parameters)


def points_source(wanted: CallFilter, totals: str, *, longest_span: int, of_models: bool) -> Source | None:
    """SELECTs for each provider, or model, the `records` that a series is made of; None for what points don't know.

    totals: what is selected of rollups that are added up, for what lies in no span that has points
    """
    if any((wanted.group_id, wanted.actor, wanted.modality, wanted.status)) or longest_span < SPANS_OF_POINTS[0]:
        return None
    # Half-hours only where they are the longest: at an edge, two quarter-hours are as good as one more SELECT.
    periods, parameters = _periods(wanted, [*(span for span in SPANS if span < longest_span), longest_span])
    pieces = _pieces(wanted, ROLLUPS, COLUMNS, _edges(wanted), periods)
    model = "model" if of_models else NO_MODEL
    rest = [select for span, select in pieces.items() if span not in SPANS_OF_POINTS]
    selects = [
        as_records(
            f"SELECT at, provider, {model} AS model, {totals} FROM {_united([*rest, *_beside(wanted)])} AS s "  # noqa: S608
            "GROUP BY 1, 2, 3"
        )
    ]
    apart = of_models or wanted.model is not None
    selects += [
        f"SELECT at, provider, {model}, sums FROM projections.{POINTS.name} "  # noqa: S608
        f"WHERE of_models = {apart} AND span = {span} AND ({within}) AND {_alike(wanted)}"
        for span, within in periods.items()
        if span in SPANS_OF_POINTS
    ]
    return records_of(selects, parameters)


def as_records(added_up: str) -> str:
    """SELECTs what rollups that are added up hold, as points keep it."""
    return f"SELECT at, provider, model, {AS_SUMS} AS sums FROM ({added_up}) AS t"  # noqa: S608


def records_of(selects: Sequence[str], parameters: dict[str, Any]) -> Source:
    """SELECTs for each provider and model its times and sums, one behind the other."""
    return Source(
        "SELECT provider, model, string_agg(timestamptz_send(at) || sums, ''::bytea) AS records "  # noqa: S608
        f"FROM {_united(selects)} AS s GROUP BY provider, model",
        parameters,
    )


def _edges(wanted: CallFilter) -> str:
    """Calls that have ended, and answers that were given, one by one."""
    ended = f"SELECT * FROM ({_calls(None, wanted)}) c WHERE outcome NOT IN ('requested', 'in_doubt')"  # noqa: S608
    return f"{ended} UNION ALL {_given(None, wanted, SETTLED)}"


def _beside(wanted: CallFilter) -> list[str]:
    """What is not over, and lies in no rollup."""
    return _within(wanted, [OPEN_CALLS, STILL_WAITING])


def failures_of(wanted: CallFilter, *, as_of: int | None) -> Source:
    """What failed of all that is wanted: rows that are shaped like those of rollup_failures. The filter is checked."""
    alone = _failures(as_of, wanted)
    if wanted.status is not None or _needs_calls(wanted, as_of):
        return _all_of(wanted, as_of, [alone], but="status")
    periods, parameters = _periods(wanted, SPANS)
    pieces = _pieces(wanted, FAILURES, FAILURE_COLUMNS, alone, periods)
    return Source(_united(list(pieces.values())), parameters)


def newest_of(wanted: CallFilter, *, now: datetime | None, as_of: int | None) -> Source:
    """SELECTs `at`, the minute of the newest call that is wanted, and not later than now; NULL if there is none."""
    alike, since = _alike(wanted), _between("since", "now", wanted.since, now)
    newest = "ORDER BY at DESC LIMIT 1"
    if _needs_calls(wanted, as_of):
        selects = [f"SELECT at FROM ({_calls(as_of, wanted)}) c WHERE {since} AND {alike} {newest}"]  # noqa: S608
    else:
        ended = "SELECT * FROM projections.rollups WHERE span = 1 AND outcome NOT IN ('joined', 'cached')"
        selects = [
            f"SELECT at FROM ({source}) c WHERE {since} AND {alike} {newest}"  # noqa: S608
            for source in (ended, OPEN_CALLS)
        ]
    united = " UNION ALL ".join(f"({each})" for each in selects)
    parameters = {**_parameters(wanted, as_of), "now": now}
    return Source(f"SELECT date_trunc('minute', max(at), 'UTC') AS at FROM ({united}) AS newest", parameters)  # noqa: S608


def _needs_calls(wanted: CallFilter, as_of: int | None) -> bool:
    """Whether something is asked that no rollup knows."""
    return as_of is not None or wanted.group_id is not None or wanted.actor is not None


def _all_of(wanted: CallFilter, as_of: int | None, sources: list[str], *, but: str = "") -> Source:
    return Source(_united(_within(wanted, sources, but=but)), _parameters(wanted, as_of))


def _within(wanted: CallFilter, sources: list[str], *, but: str = "") -> list[str]:
    conditions = f"{_between('since', 'until', wanted.since, wanted.until)} AND {_alike(wanted, but)}"
    return [f"SELECT * FROM ({source}) s WHERE {conditions}" for source in sources]  # noqa: S608


def _pieces(
    wanted: CallFilter, table: Table, columns: tuple[str, ...], edges: str, periods: dict[int, str]
) -> dict[int, str]:
    """By span: whole spans from their table, and for 0, what is no whole minute, from `edges`."""
    named, alike = ", ".join(columns), _alike(wanted)
    whole = {span: f"SELECT {named} FROM projections.{table.name} WHERE span = {span}" for span in SPANS}  # noqa: S608
    return {
        span: f"SELECT * FROM ({whole.get(span, edges)}) s WHERE ({within}) AND {alike}"  # noqa: S608
        for span, within in periods.items()
    }


def _periods(wanted: CallFilter, spans: Sequence[int]) -> tuple[dict[int, str], dict[str, Any]]:
    """By span, when what is taken of it lies, and the parameters of what is wanted and of that.

    One condition for a span, as a SELECT for each period would be planned as each.
    """
    periods: dict[int, list[str]] = {}
    parameters = _parameters(wanted, None)
    for number, (span, since, until) in enumerate(cover(wanted.since, wanted.until, spans)):
        names = f"from_{number}", f"to_{number}"
        parameters |= dict(zip(names, (since, until), strict=True))
        periods.setdefault(span, []).append(_between(*names, since, until))
    return {span: " OR ".join(found) for span, found in periods.items()}, parameters


def _united(selects: Sequence[str]) -> str:
    return f"({' UNION ALL '.join(selects)})"


def _parameters(wanted: CallFilter, as_of: int | None) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(wanted),
        "provider": None if wanted.provider is None else wanted.provider.lower(),
        "as_of": as_of,
        "position": last_counted(as_of),
        "beginnings": _BEGINNINGS,
    }


def _between(since_name: str, until_name: str, since: datetime | None, until: datetime | None) -> str:
    conditions = ["true"]
    if since is not None:
        conditions.append(f"at >= %({since_name})s::timestamptz")
    if until is not None:
        conditions.append(f"at < %({until_name})s::timestamptz")
    return " AND ".join(conditions)


def _alike(wanted: CallFilter, but: str = "") -> str:
    named = {"provider": "provider", "model": "model", "modality": "modality", "status": "outcome"}
    conditions = [
        f"{column} = %({name})s" for name, column in named.items() if name != but and getattr(wanted, name) is not None
    ]
    return " AND ".join(conditions) or "true"


def _row(**columns: str) -> str:
    """A rollup's columns, those that are not given as for nothing."""
    nothing = {name: "NULL" if name.endswith("est_us") else "0" for name in COLUMNS}
    nothing |= {"latency": "NULL", "first_token": "NULL"}
    kinds = {name: ROLLUPS.columns[name].removesuffix(" NOT NULL").partition("(")[0] for name in COLUMNS}
    return ", ".join(f"({columns.get(name, nothing[name])})::{kinds[name]} AS {name}" for name in COLUMNS)


def _times(name: str) -> dict[str, str]:
    """One call's time, as a histogram that holds it; m.NAME is it in microseconds."""
    record = f"int2send(width_bucket(m.{name}, %(beginnings)s::bigint[])::int2) || int4send(1)"
    return {
        f"{name}_calls": f"(m.{name} IS NOT NULL)::int",
        f"{name}_us": f"coalesce(m.{name}, 0)",
        f"{name}_shortest_us": f"m.{name}",
        f"{name}_longest_us": f"m.{name}",
        name: f"CASE WHEN m.{name} IS NOT NULL THEN {record} END",
    }


_AS_ASKED = {"provider": "c.provider", "model": "c.model", "modality": "c.modality", "calls": "1"}
_ONE_CALL = _row(
    **_AS_ASKED,
    at="c.created_at",
    outcome=STATUS,
    attempts="coalesce(c.attempts, 0)",
    cost="coalesce(c.cost, 0)",
    cost_unknown="(c.outcome IS NOT DISTINCT FROM 'success' AND c.cost IS NULL)::int",
    tokens_calls=f"(c.tokens_total IS NOT NULL AND c.tokens_total BETWEEN 0 AND {MOST_TOKENS})::int",
    **{
        f"tokens_{name}": f"CASE WHEN c.tokens_{name} BETWEEN 0 AND {MOST_TOKENS} THEN c.tokens_{name} ELSE 0 END"
        for name in ("prompt", "completion", "total", "cached")
    },
    **_times("latency"),
    **_times("first_token"),
)
_MEASURED = ", ".join(
    f"CASE WHEN c.{name}_ms BETWEEN 0 AND {LONGEST_MS} THEN round(c.{name}_ms * 1000)::bigint END AS {name}"
    for name in ("latency", "first_token")
)
_ONE_GIVEN = _row(
    **_AS_ASKED,
    at="c.created_at",
    outcome="c.how",
    cost="coalesce(c.saves, 0)",
    cost_unknown="(c.saves IS NULL)::int",
)
# Of a call for several texts, it isn't known what those that were waited for had cost.
_SAVES = "CASE WHEN s.modality <> 'embedding' THEN source.cost END AS saves"

OPEN_CALLS = (
    f"SELECT {_row(**_AS_ASKED, at='c.created_at', outcome=IN_DOUBT_OR_REQUESTED)} "  # noqa: S608 - our own names
    "FROM projections.rollup_open c"
)
STILL_WAITING = f"""
    SELECT {_ONE_GIVEN} FROM (
        SELECT s.*, 'joined' AS how, {_SAVES} FROM projections.rollup_waiting s
        JOIN projections.calls source ON source.call_id = s.source_call_id AND source.outcome = 'success'
    ) c
"""  # noqa: S608 - our own names
# A join that is not counted among those that still wait.
SETTLED = "AND NOT EXISTS (SELECT FROM projections.rollup_waiting w WHERE w.call_id = s.call_id)"


def _calls(as_of: int | None, wanted: CallFilter) -> str:
    """Calls, one by one, as they stood at a position."""
    conditions = ["c.requested_position <= %(position)s"]
    if wanted.group_id is not None:
        conditions.append(IN_GROUP)
    if wanted.actor is not None:
        conditions.append("c.actor = %(actor)s")
    return (
        f"SELECT {_ONE_CALL} FROM {calls_at(as_of)} c CROSS JOIN LATERAL (SELECT {_MEASURED}) m "  # noqa: S608
        f"WHERE {' AND '.join(conditions)}"
    )


def _given(as_of: int | None, wanted: CallFilter, further: str = "") -> str:
    """Answers that were given without a call, one by one: the last join of each who waited, and each cached one."""
    actor = "" if wanted.actor is None else "AND s.actor = %(actor)s"
    return f"""
        SELECT {_ONE_GIVEN} FROM (
            SELECT s.call_id, s.created_at, s.provider, s.model, s.modality, s.how, s.saved AS saves
            FROM projections.shared_calls s
            WHERE s.how = 'cached' AND s.place = 0 AND s.position <= %(position)s {actor}
            UNION ALL
            SELECT s.call_id, s.created_at, s.provider, s.model, s.modality, s.how, {_SAVES}
            FROM projections.shared_calls s
            JOIN {calls_at(as_of)} source ON source.call_id = s.source_call_id AND source.outcome = 'success'
            WHERE s.how = 'joined' AND s.position <= %(position)s {actor} {further}
                AND NOT EXISTS (SELECT FROM projections.shared_calls later WHERE later.call_id = s.call_id
                    AND later.version > s.version AND later.position <= %(position)s)
        ) c
    """  # noqa: S608 - our own names


def _failures(as_of: int | None, wanted: CallFilter) -> str:
    """Attempts and calls that failed, one by one."""
    conditions = ["true"]
    if wanted.group_id is not None:
        conditions.append(IN_GROUP)
    if wanted.actor is not None:
        conditions.append("c.actor = %(actor)s")
    if wanted.status is not None:
        conditions.append(STATUSES[wanted.status])
    asked = "c.created_at AS at, c.provider, c.model, c.modality"
    return f"""
        SELECT {asked}, a.error->>'kind' AS kind, 1::bigint AS attempts, 0::bigint AS calls, a.at AS last_at
        FROM {calls_at(as_of)} c JOIN projections.call_attempts a ON a.call_id = c.call_id
        WHERE a.outcome = 'failed' AND a.position <= %(position)s AND {" AND ".join(conditions)}
        UNION ALL
        SELECT {asked}, c.error->>'kind', 0, 1, c.ended_at FROM {calls_at(as_of)} c
        WHERE c.outcome = 'failed' AND {" AND ".join(conditions)}
    """  # noqa: S608 - our own names
