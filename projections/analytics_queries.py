"""Questions about many calls at once: how many, how fast, how many tokens, how much, and what went wrong.

They are answered from rollups, however many calls there are; what rollups don't know, such as groups, actors and the
past, from the calls.
"""

from projections.analytics_sources import checked, failures_of, source_of
from projections.call_queries import EVERY_CALL, CallFilter
from projections.paging import Page
from projections.reading import Reader, Row, in_json
from projections.totals import A_CALL, TOTALS, told

MOST_ITEMS = 1000


class AnalyticsQueries:
    """Asks the rollups, and the calls."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def summary(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Row:
        """All of it in one row: how many calls, what became of them, tokens, times in milliseconds, costs in USD.

        success_rate: of the calls that succeeded or failed; None without any
        cost, saved: USD that are known; cost_unknown, saved_unknown: for how many calls they are not
        Raises Rejected for a filter that makes no sense.
        """
        checked(wanted)
        source = source_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            f"SELECT {TOTALS}, array_agg(DISTINCT provider) FILTER (WHERE {A_CALL}) AS providers, "  # noqa: S608
            f"array_agg(DISTINCT model) FILTER (WHERE {A_CALL}) AS models FROM {source.sql} AS s",
            source.parameters,
            binary=True,
        )
        (totals,) = told(rows, wanted)
        tokens = {name: totals.pop(f"tokens_{name}") for name in ("prompt", "completion", "total", "cached", "mean")}
        names = {name: sorted(rows[0][name] or []) for name in ("providers", "models")}
        return {**totals, **names, "tokens": tokens}

    @in_json
    async def providers(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Page[Row]:
        """Each model of each provider, the one with the most calls first; at most 1,000. Raises Rejected.

        count: its calls; the rest as in the summary
        """
        checked(wanted)
        source = source_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            f"SELECT provider, model, {TOTALS} FROM {source.sql} AS s GROUP BY provider, model "  # noqa: S608
            f"ORDER BY calls DESC, provider, model LIMIT {MOST_ITEMS}",
            source.parameters,
            binary=True,
        )
        return Page(
            [
                {"provider": row["provider"], "model": row["model"], "count": each.pop("calls"), **each}
                for row, each in zip(rows, told(rows, wanted), strict=True)
            ]
        )

    @in_json
    async def errors(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Page[Row]:
        """What went wrong by its kind and model, the most frequent first; at most 1,000. Raises Rejected.

        attempts: that failed so, also of calls that succeeded in the end; calls: that failed so for good
        last_at: when it was seen last
        """
        checked(wanted)
        source = failures_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            "SELECT kind, provider, model, sum(attempts)::bigint AS attempts, sum(calls)::bigint AS calls, "  # noqa: S608
            f"max(last_at) AS last_at FROM {source.sql} AS s GROUP BY kind, provider, model "
            f"ORDER BY attempts DESC, calls DESC, kind, provider, model LIMIT {MOST_ITEMS}",
            source.parameters,
            binary=True,
        )
        return Page(rows)
