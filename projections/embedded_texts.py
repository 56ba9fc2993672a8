"""Vectors found by the hash of what was asked, and read out of the log: many at a time, without an object each."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from application.find_vectors import AnsweredCall, Found
from projections.embedding_cache import EMBEDDING_CACHE
from projections.follow import Follower
from projections.paging import last_counted
from projections.reading import connected

READ_SECONDS = 5.0
READ_BYTES = 32 * 1024 * 1024  # of vectors in one answer
WIDEST_GAP = 8  # rows between two wanted ones that are read with them, since a slice costs more

# One row a call, and one without a call that says up to where the read model had read: all in one snapshot. The planner
# knows the length of the array, and looks each hash up or reads the whole index once.
LOOKUP = """
    SELECT NULL::uuid, NULL::bigint, NULL::int, NULL::int, NULL::numeric, position, NULL::bigint[], NULL::int[]
    FROM projections.generations WHERE name = 'embedding_cache' AND state = 'live'
    UNION ALL
    SELECT c.call_id, c.answered_version, c.dimension, c.texts, c.cost, found.position, found.places,
        found.input_indexes
    FROM (
        SELECT v.call_id, v.position, array_agg(asked.place - 1) AS places, array_agg(v.input_index) AS input_indexes
        FROM unnest(%b::text[]) WITH ORDINALITY AS asked (request_hash, place)
        JOIN projections.embedding_vectors v ON v.request_hash = asked.request_hash AND v.position <= %b
        GROUP BY v.call_id, v.position
    ) AS found
    JOIN projections.embedding_calls c ON c.call_id = found.call_id
    ORDER BY position NULLS FIRST
"""

READ = """
    SELECT substring(p.vectors FROM wanted.first FOR wanted.size)
    FROM unnest(%b::uuid[], %b::bigint[], %b::int[], %b::int[])
        WITH ORDINALITY AS wanted (call_id, version, first, size, place)
    JOIN events.payloads p ON p.originator_id = wanted.call_id
        AND p.originator_version = wanted.version AND p.part = 'response'
    ORDER BY wanted.place
"""


class _Slice(NamedTuple):
    """Rows of one call's block that lie together, and which of the found vectors lie in them."""

    call: AnsweredCall
    first_row: int
    row_count: int
    wanted: NDArray[np.int64]  # into the arrays of Found

    @property
    def byte_size(self) -> int:
        return self.row_count * self.call.dimension * 4


class EmbeddedTexts:
    """Queries over the read model of embedded texts."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def lookup(self, request_hashes: Sequence[str], *, as_of: int | None = None) -> Found:
        """The first vector paid for under each hash, in one round trip."""
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(LOOKUP, (list(request_hashes), last_counted(as_of)))
            rows = await cursor.fetchall()
        position = next((row[5] for row in rows if row[0] is None), 0)
        return _found(position, [row for row in rows if row[0] is not None], len(request_hashes))

    async def read_into(self, found: Found, rows: NDArray[np.float32]) -> None:
        """Copy the vectors that were found, bit for bit, into rows[found.places]; rows has their dimension."""
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            for slices in _in_answers(_slices(found)):
                columns = (
                    [each.call.call_id for each in slices],
                    [each.call.version for each in slices],
                    [each.first_row * each.call.dimension * 4 + 1 for each in slices],
                    [each.byte_size for each in slices],
                )
                await cursor.execute(READ, columns)
                for each, (block,) in zip(slices, await cursor.fetchall(), strict=True):
                    read = np.frombuffer(block, dtype="<f4").reshape(each.row_count, each.call.dimension)
                    rows[found.places[each.wanted]] = read[found.input_indexes[each.wanted] - each.first_row]


class CachedVectors:
    """Implements the port EmbeddingCache on the read models."""

    def __init__(self, embedded: EmbeddedTexts, follower: Follower) -> None:
        self._embedded = embedded
        self._follower = follower

    async def lookup(self, request_hashes: Sequence[str], *, at_least: int = 0) -> Found:
        """See the port. Raises Unavailable when the read model doesn't show that position in time."""
        found = await self._embedded.lookup(request_hashes)
        if found.position < at_least:
            await self._follower.wait_until(at_least, READ_SECONDS, (EMBEDDING_CACHE.name,))
            found = await self._embedded.lookup(request_hashes)
        return found

    async def read_into(self, found: Found, rows: NDArray[np.float32]) -> None:
        """See the port."""
        await self._embedded.read_into(found, rows)


def _found(position: int, calls: list[tuple[Any, ...]], asked: int) -> Found:
    """Of several vectors under a hash the first one stands: one that was paid for twice is the same anyway."""
    number_of = np.full(asked, -1, dtype=np.int64)
    index_of = np.empty(asked, dtype=np.int64)
    for number in reversed(range(len(calls))):
        places, indexes = (np.array(column, dtype=np.int64) for column in calls[number][6:])
        order = np.argsort(-indexes, kind="stable")  # within a call, too: the lowest index is written last
        number_of[places[order]] = number
        index_of[places[order]] = indexes[order]
    found = np.flatnonzero(number_of >= 0)
    needed, call_numbers = np.unique(number_of[found], return_inverse=True)
    return Found(
        position=position,
        calls=tuple(AnsweredCall(*calls[number][:5]) for number in needed.tolist()),
        places=found,
        call_numbers=call_numbers.astype(np.int64),
        input_indexes=index_of[found],
    )


def _slices(found: Found) -> Iterator[_Slice]:
    if not found.places.size:
        return
    order = np.lexsort((found.input_indexes, found.call_numbers))
    numbers, indexes = found.call_numbers[order], found.input_indexes[order]
    starts = np.flatnonzero((np.diff(numbers) != 0) | (np.diff(indexes) > WIDEST_GAP)) + 1
    for wanted in np.split(order, starts):
        first, last = int(found.input_indexes[wanted[0]]), int(found.input_indexes[wanted[-1]])
        yield _Slice(found.calls[int(found.call_numbers[wanted[0]])], first, last - first + 1, wanted)


def _in_answers(slices: Iterator[_Slice]) -> Iterator[list[_Slice]]:
    """Cut what is read into answers of bounded size."""
    answer: list[_Slice] = []
    size = 0
    for each in slices:
        if answer and size + each.byte_size > READ_BYTES:
            yield answer
            answer, size = [], 0
        answer.append(each)
        size += each.byte_size
    if answer:
        yield answer
