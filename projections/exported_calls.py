"""Calls in bulk, with the bodies of their requests and answers, as they stood at a position.

Nothing is held open between batches, so that whoever takes them may take their time. A batch is bounded by the bytes of
its bodies, which are fetched once it is known how many there are.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from application.export_rows import Batch, Column
from domain.calls import text_at
from domain.errors import Rejected
from projections.call_queries import BODIES, CallFilter, calls_at, conditions_of
from projections.found_calls import check_search, found_pages
from projections.raw_calls import STATUS, TOKENS
from projections.reading import Reader, connected
from projections.search_eras import CallSearch
from projections.vector_blocks import runs_of

ROWS_A_PAGE = 10_000
BYTES_A_BATCH = 16 * 1024 * 1024

SHOWN = "c.outcome = 'success' AND c.response_is_json"
# A column of the file, and what it is in SQL; the bodies and the text inside the answer come afterwards.
LIGHT: Sequence[tuple[Column, str]] = (
    (Column("call_id", "text"), "c.call_id::text"),
    (Column("position", "integer"), "c.requested_position"),
    (Column("created_at", "time"), "c.created_at"),
    (Column("ended_at", "time"), "c.ended_at"),
    (Column("provider", "text"), "c.provider"),
    (Column("model", "text"), "c.model"),
    (Column("served_model", "text"), "c.served_model"),
    (Column("modality", "text"), "c.modality"),
    (Column("operation", "text"), "c.operation"),
    (Column("status", "text"), STATUS),
    (Column("attempts", "integer"), "c.attempts"),
    (Column("latency_ms", "real"), "c.latency_ms"),
    (Column("first_token_ms", "real"), "c.first_token_ms"),
    (Column("total_ms", "real"), "c.total_ms"),
    (Column("tokens_prompt", "integer"), "c.tokens_prompt"),
    (Column("tokens_completion", "integer"), "c.tokens_completion"),
    (Column("tokens_total", "integer"), "c.tokens_total"),
    (Column("tokens_cached", "integer"), "c.tokens_cached"),
    (Column("tokens_json", "json"), f"({TOKENS})::text"),
    (Column("cost", "exact"), "trim_scale(c.cost)"),
    (Column("finish_reason", "text"), "c.finish_reason"),
    (Column("http_status", "integer"), "c.http_status"),
    (Column("request_hash", "text"), "c.request_hash"),
    (Column("sample_index", "integer"), "c.sample_index"),
    (Column("actor", "text"), "c.actor"),
    (Column("correlation_id", "text"), "c.correlation_id::text"),
    (Column("metadata_json", "json"), "c.metadata::text"),
    (Column("error_json", "json"), "c.error::text"),
)
BODY_COLUMNS = (Column("request_json", "json"), Column("response_json", "json"), Column("text", "text"))
COLUMNS = (*(column for column, _ in LIGHT), *BODY_COLUMNS)

# What a page needs besides: which bodies it has, how long they are, and where in the answer its text is.
BESIDE = f"""
    c.call_id, c.request_is_json, c.ended_version, CASE WHEN {SHOWN} THEN c.response_part END,
    CASE WHEN c.request_is_json THEN coalesce(length(asked.body), 0) ELSE 0 END
        + CASE WHEN {SHOWN} THEN coalesce(length(answered.body), 0) ELSE 0 END,
    c.text_path
"""
BODIES_OF = f"""
    SELECT CASE WHEN c.request_is_json THEN asked.body END, answered.body
    FROM unnest(%(calls)b::uuid[], %(versions)b::int[], %(parts)b::text[], %(asked)b::bool[]) WITH ORDINALITY
        AS c (call_id, ended_version, response_part, request_is_json, place)
    {BODIES} ORDER BY c.place
"""  # noqa: S608 - our own names

_as_json = msgspec.json.Decoder().decode


class ExportedCalls:
    """Reads the table of calls from its beginning to its end."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, substrings: bool = False) -> None:
        """substrings: whether there is a read model of whole texts"""
        self._pool = pool
        self._substrings = substrings

    def check(self, wanted: CallSearch) -> None:
        """Raises Rejected for a search whose finds can't be had as a file."""
        check_search(wanted, substrings=self._substrings)
        if wanted.order == "rank":
            raise Rejected("A file has calls in the order of the log, not by rank", fields=("order",))

    async def count(self, wanted: CallFilter, *, position: int) -> int | None:
        """How many calls fit; None for a search, which is only known once they were found."""
        if isinstance(wanted, CallSearch):
            return None
        conditions, parameters = conditions_of(wanted)
        async with connected(self._pool) as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                f"SELECT count(*) FROM {calls_at(position)} c WHERE {' AND '.join(conditions)}".encode(),  # noqa: S608
                {**parameters, "as_of": position, "position": position},
            )
            row = await cursor.fetchone()
            return int(row[0]) if row else 0

    async def batches(self, wanted: CallFilter, *, position: int) -> AsyncIterator[Batch]:
        """All calls that fit, the oldest first, as they stood at a position; COLUMNS says what of each.

        What a search found comes in the order of the log.
        """
        pages = self._found(wanted, position) if isinstance(wanted, CallSearch) else self._all(wanted, position)
        async for page in pages:
            runs = runs_of([row[-2] for row in page], BYTES_A_BATCH)
            start = 0
            for stop in range(1, len(page) + 1):
                if stop == len(page) or runs[stop] != runs[start]:
                    bodies = await self._bodies(page[start:stop])
                    yield await asyncio.to_thread(_batch, page[start:stop], bodies)
                    start = stop

    async def _all(self, wanted: CallFilter, position: int) -> AsyncIterator[list[tuple[Any, ...]]]:
        conditions, parameters = conditions_of(wanted)
        page = await self._page(conditions, parameters, position)
        conditions.append("(c.created_at, c.requested_position) > (%(after_at)s, %(after_position)s)")
        while page:
            yield page
            if len(page) < ROWS_A_PAGE:
                return
            after = {"after_at": page[-1][2], "after_position": page[-1][1]}
            page = await self._page(conditions, {**parameters, **after}, position)

    async def _found(self, wanted: CallSearch, position: int) -> AsyncIterator[list[tuple[Any, ...]]]:
        conditions, parameters = conditions_of(wanted)
        conditions.append("c.call_id = ANY (%(found)s::uuid[])")
        async for calls in found_pages(Reader(self._pool), wanted, position, ROWS_A_PAGE):
            of_these = {**parameters, "found": calls}
            if page := await self._page(conditions, of_these, position, order="c.requested_position"):
                yield page

    async def _page(
        self,
        conditions: Sequence[str],
        parameters: dict[str, Any],
        position: int,
        order: str = "c.created_at, c.requested_position",
    ) -> list[tuple[Any, ...]]:
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(
                f"SELECT {', '.join(sql for _, sql in LIGHT)}, {BESIDE} FROM {calls_at(position)} c {BODIES} "  # noqa: S608
                f"WHERE {' AND '.join(conditions)} ORDER BY {order} "
                f"LIMIT {ROWS_A_PAGE}".encode(),
                {**parameters, "as_of": position, "position": position},
            )
            return await cursor.fetchall()

    async def _bodies(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[bytes | None, bytes | None]]:
        calls, asked, versions, parts, _, _ = zip(*(row[len(LIGHT) :] for row in rows), strict=True)
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(
                BODIES_OF.encode(),
                {
                    "calls": list(calls),
                    "versions": list(versions),
                    "parts": list(parts),
                    "asked": list(asked),
                },
            )
            return await cursor.fetchall()


def _batch(rows: Sequence[tuple[Any, ...]], bodies: Sequence[tuple[bytes | None, bytes | None]]) -> Batch:
    light = list(zip(*rows, strict=True))
    answers = [answer for _, answer in bodies]
    texts = [_text(answer, path) for answer, path in zip(answers, light[-1], strict=True)]
    columns = [
        *light[: len(LIGHT)],
        [_decoded(asked) for asked, _ in bodies],
        [_decoded(each) for each in answers],
        texts,
    ]
    return Batch(columns, len(rows))


def _decoded(body: bytes | None) -> str | None:
    return None if body is None else body.decode("utf-8", "replace")


def _text(answer: bytes | None, path: Any) -> str | None:
    return None if answer is None or path is None else text_at(_as_json(answer), path)
