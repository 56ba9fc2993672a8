"""Totals of many calls: how rollups are added up, and how that is told."""

from collections.abc import Sequence
from decimal import Decimal

from domain.latency import PERCENTILES, percentiles
from domain.pricing import plain
from projections.call_queries import CallFilter
from projections.reading import Row

A_CALL = "outcome NOT IN ('joined', 'cached')"
_ENDS = ("success", "failed", "cancelled", "in_doubt", "requested")


def _counts(*outcomes: str) -> str:
    return ", ".join(
        f"coalesce(sum(calls) FILTER (WHERE outcome = '{name}'), 0)::bigint AS {name}" for name in outcomes
    )


def _sums(*columns: str) -> str:
    return ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in columns)


_TIMES = ", ".join(
    f"{_sums(f'{name}_calls', f'{name}_us')}, "
    f"min({name}_shortest_us) AS {name}_shortest_us, max({name}_longest_us) AS {name}_longest_us, "
    f"string_agg({name}, ''::bytea) AS {name}"
    for name in ("latency", "first_token")
)
_BASICS = f"""
    coalesce(sum(calls) FILTER (WHERE {A_CALL}), 0)::bigint AS calls,
    {_counts("success", "failed", "joined", "cached")}, {_sums("tokens_total", "tokens_calls")},
    coalesce(sum(cost) FILTER (WHERE {A_CALL}), 0) AS cost,
    coalesce(sum(cost_unknown) FILTER (WHERE {A_CALL}), 0)::bigint AS cost_unknown,
    coalesce(sum(cost) FILTER (WHERE NOT {A_CALL}), 0) AS saved,
    coalesce(sum(cost_unknown) FILTER (WHERE NOT {A_CALL}), 0)::bigint AS saved_unknown
"""
POINT_TOTALS = f"{_BASICS}, {_sums('latency_calls', 'latency_us')}"
NOT_GIVEN: Row = dict.fromkeys(("joined", "cached", "saved", "saved_unknown"))
TOTALS = f"""
    {_BASICS}, {_counts("cancelled", "in_doubt", "requested")},
    {_sums("attempts", "tokens_prompt", "tokens_completion", "tokens_cached")}, {_TIMES}
"""
_PLAIN = ("calls", *_ENDS, "attempts", "tokens_total", "tokens_prompt", "tokens_completion", "tokens_cached")
NOTHING: Row = {
    **dict.fromkeys((*_PLAIN, "tokens_calls", "joined", "cached", "cost", "cost_unknown", "saved", "saved_unknown"), 0),
    **{f"{name}_{each}": 0 for name in ("latency", "first_token") for each in ("calls", "us")},
    **{f"{name}{each}": None for name in ("latency", "first_token") for each in ("", "_shortest_us", "_longest_us")},
}


def told(rows: Sequence[Row], wanted: CallFilter) -> list[Row]:
    """Each row's totals as people read them."""
    times = {
        name: percentiles(
            *([row[each] for row in rows] for each in (name, f"{name}_shortest_us", f"{name}_longest_us"))
        ).tolist()
        for name in ("latency", "first_token")
    }
    return [
        {
            **{name: row[name] for name in _PLAIN},
            "success_rate": _share(row["success"], row["success"] + row["failed"]),
            "attempts_per_call": _share(row["attempts"], row["success"] + row["failed"] + row["cancelled"]),
            "tokens_mean": _share(row["tokens_total"], row["tokens_calls"], digits=3),
            "latency_ms": _measured(row, "latency", times["latency"][place]),
            "first_token_ms": _measured(row, "first_token", times["first_token"][place]),
            "cost": _known(row["cost"], row["success"], row["cost_unknown"]),
            "cost_unknown": row["cost_unknown"],
            **_saved(row, wanted),
        }
        for place, row in enumerate(rows)
    ]


def flat(rows: Sequence[Row], wanted: CallFilter) -> list[Row]:
    """Each row's totals on one level, as a chart takes them."""
    levelled: list[Row] = []
    for row in told(rows, wanted):
        row["tokens_sum"] = row.pop("tokens_total")
        for name in ("latency_ms", "first_token_ms"):
            row |= {f"{name}_{each}": number for each, number in row.pop(name).items()}
        levelled.append(row)
    return levelled


def _saved(row: Row, wanted: CallFilter) -> Row:
    if wanted.group_id is not None:
        return NOT_GIVEN
    given = row["joined"] + row["cached"]
    return {
        "joined": row["joined"],
        "cached": row["cached"],
        "saved": _known(row["saved"], given, row["saved_unknown"]),
        "saved_unknown": row["saved_unknown"],
    }


def _share(part: int, whole: int, *, digits: int = 6) -> float | None:
    return round(part / whole, digits) if whole else None


def _known(amount: Decimal, calls: int, unknown: int) -> str | None:
    """USD; None where there are calls, and of none it is known."""
    return None if unknown and unknown >= calls else plain(Decimal(amount))


def _measured(row: Row, name: str, found: Sequence[float]) -> Row:
    """In milliseconds: the exact mean, percentiles within 1 %; None without a measurement."""
    calls = row[f"{name}_calls"]
    if not calls:
        return dict.fromkeys(("mean", *(f"p{each}" for each in PERCENTILES)))
    mean = round(row[f"{name}_us"] / calls / 1000, 3)
    return {"mean": mean, **{f"p{each}": value for each, value in zip(PERCENTILES, found, strict=True)}}
