"""How numbers about many calls look in the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interfaces.cli.tables import sparkline, table

if TYPE_CHECKING:
    from rich.console import Console

Json = dict[str, Any]

STATES = ("success", "failed", "cancelled", "in_doubt", "requested")
PERCENTILES = ("latency_ms_p50", "latency_ms_p95", "latency_ms_p99")
LONGEST_TABLE = 100  # buckets; those of a longer series that are not the last ones are seen in the curves alone
WIDEST_CURVE = 100


def percent(share: float | None) -> str | None:
    """A fraction as people read it."""
    return None if share is None else f"{share:.1%}"


def whole(number: float | None) -> int | None:
    """Milliseconds, without what comes after the point."""
    return None if number is None else round(number)


def money(usd: str | None, unknown: int | None) -> str | None:
    """An amount, and for how many calls it isn't known."""
    if usd is None:
        return f"unknown for {unknown:,}" if unknown else None
    return usd + (f" + unknown for {unknown:,}" if unknown else "")


def times(measured: Json) -> str | None:
    """A mean and percentiles in one line."""
    if measured["mean"] is None:
        return None
    return f"{measured['mean']:.0f} mean, " + ", ".join(
        f"{measured[name]:.0f} {name}" for name in ("p50", "p95", "p99")
    )


def given_rows(summary: Json) -> list[list[Any]]:
    """What need not be asked again; of a group it isn't known."""
    if summary["joined"] is None:
        return []
    return [
        ["answered from the cache", f"{summary['cached']:,}"],
        ["joined a call under way", f"{summary['joined']:,}"],
        ["saved", money(summary["saved"], summary["saved_unknown"])],
    ]


def show_series(console: "Console", series: Json, by: str) -> None:
    """A curve for each provider or model, then the buckets in which there was something, the last ones."""
    items: Sequence[Json] = series["items"]
    if not items:
        console.print("No calls.")
        return
    names = sorted({_name(item, by) for item in items})
    curves = []
    for name in names:
        own = [item for item in items if _name(item, by) == name]
        calls = [item["calls"] for item in own]
        curves.append([name, sum(calls), max(calls), sparkline(_fitted(calls))])
    console.print(table([by, "calls", f"most a {series['bucket']}", f"calls a {series['bucket']}"], curves))
    detailed = PERCENTILES[0] in items[0]
    busy = [item for item in items if item["calls"]]
    rows = [
        [
            item["at"][:16].replace("T", " ") + item["at"][19:].replace("Z", ""),
            _name(item, by),
            item["calls"],
            item["failed"],
            item["tokens_sum"],
            whole(item["latency_ms_mean"]),
            *([whole(item[name]) for name in PERCENTILES] if detailed else []),
            money(item["cost"], item["cost_unknown"]),
        ]
        for item in busy[-LONGEST_TABLE:]
    ]
    columns = [
        f"at ({series['timezone']})",
        by,
        "calls",
        "failed",
        "tokens",
        "ms",
        *(["p50", "p95", "p99"] if detailed else []),
        "USD",
    ]
    console.print(table(columns, rows))
    if len(busy) > len(rows):
        console.print(f"{len(busy) - len(rows):,} earlier ones are left out: --json has them all.")


def _name(item: Json, by: str) -> str:
    return item["provider"] if by == "provider" else f"{item['provider']}/{item['model']}"


def _fitted(calls: Sequence[int]) -> list[float | None]:
    """At most as many values as fit on a line, each the sum of neighbours."""
    step = -(-len(calls) // WIDEST_CURVE)
    sums: list[float | None] = [sum(calls[at : at + step]) for at in range(0, len(calls), step)]
    return sums
