"""Calls that were imported from one older database: each with its bodies and batches, and all of them in sum."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, tuple_row
from psycopg_pool import AsyncConnectionPool

from application.validate_legacy_import import CallsInSum, ImportedCall, ProviderSums
from projections.call_queries import BODIES
from projections.raw_calls import STATUS
from projections.reading import connected

# By index, and not by what metadata say: a call of another source with the same id would be a difference, too.
CALLS = f"""
    SELECT c.call_id, c.provider, {STATUS} AS status, c.tokens_total AS tokens, c.latency_ms, c.created_at, c.metadata,
        asked.body AS request, CASE WHEN c.outcome = 'success' THEN answered.body END AS response,
        (SELECT coalesce(json_agg(json_build_array(g.name, m.place) ORDER BY g.name), '[]'::json)
            FROM projections.group_members m JOIN projections.groups g USING (group_id)
            WHERE m.call_id = c.call_id AND m.removed_position IS NULL AND g.group_type = %(group_type)s) AS batches
    FROM projections.calls c {BODIES} WHERE c.call_id = ANY (%(ids)b::uuid[])
"""  # noqa: S608 - our own names

OF_SOURCE = "c.metadata ->> 'legacy_source' = %(source)s"
SUMS = f"""
    SELECT c.provider, count(*) AS calls, coalesce(sum(c.tokens_total), 0)::bigint AS tokens,
        coalesce(sum(c.latency_ms), 0)::float8 AS latency_ms,
        min(c.created_at) AS first_at, max(c.created_at) AS last_at
    FROM projections.calls c WHERE {OF_SOURCE} GROUP BY c.provider
"""  # noqa: S608 - our own names
BATCHES = f"""
    SELECT g.name, count(*) FROM projections.calls c
    JOIN projections.group_members m ON m.call_id = c.call_id AND m.removed_position IS NULL
    JOIN projections.groups g ON g.group_id = m.group_id AND g.group_type = %(group_type)s
    WHERE {OF_SOURCE} GROUP BY g.name
"""  # noqa: S608 - our own names
IDS = f"SELECT c.call_id, c.metadata ->> 'legacy_id' FROM projections.calls c WHERE {OF_SOURCE}"  # noqa: S608


class ImportedCalls:
    """Asks the read models of calls and groups."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def calls(self, call_ids: Sequence[UUID], *, group_type: str) -> dict[UUID, ImportedCall]:
        """Those of the calls that there are. Raises Unavailable."""
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=class_row(ImportedCall)) as cursor,
        ):
            await cursor.execute(CALLS.encode(), {"ids": list(call_ids), "group_type": group_type})
            return {call.call_id: call for call in await cursor.fetchall()}

    async def in_sum(self, source: str, *, group_type: str) -> CallsInSum:
        """All of them added up, as the read models have them. Raises Unavailable."""
        parameters = {"source": source, "group_type": group_type}
        async with connected(self._pool) as connection:
            async with connection.cursor(row_factory=class_row(ProviderSums)) as cursor:
                await cursor.execute(SUMS.encode(), parameters)
                providers = {sums.provider: sums for sums in await cursor.fetchall()}
            async with connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(BATCHES.encode(), parameters)
                batches: dict[str, int] = dict(await cursor.fetchall())
        return CallsInSum(providers=providers, batches=batches)

    async def ids(self, source: str) -> dict[UUID, str | None]:
        """Every imported call's id, with the row it says that it came from. Raises Unavailable."""
        async with connected(self._pool) as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(IDS.encode(), {"source": source})
            return dict(await cursor.fetchall())
