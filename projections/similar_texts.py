"""The embedded texts most similar to a vector: by pgvector's index where there is one, else by looking at all of them.

Both ways end in the same arithmetic on the float32 that the provider sent, so that a text has the same similarity
either way. The index only names candidates, and what it has not read yet is looked at besides.
"""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from application.stored_vectors import Space, VectorFilter
from domain.errors import Rejected
from domain.nearest import PLACE, Near, NearestTexts
from projections.near_vectors import FEWEST_INDEXED, LARGEST_INDEXED, NEAR_VECTORS, index_name
from projections.paging import last_counted
from projections.reading import Row, connected
from projections.vector_blocks import (
    HASH_BYTES,
    VectorBlocks,
    as_rows,
    count_on,
    narrowed,
    one_space,
    parameters_of,
    spaces_on,
    texts_of,
)

SPARE_CANDIDATES = 24  # beside the texts asked for: half precision orders near ones differently
MOST_CANDIDATES = 4000
SMALLEST_EF_SEARCH = 100  # how many the index keeps in view; measured in docs/decisions/020-similar-texts.md
LARGEST_EF_SEARCH = 1000
HALF_PRECISION = 2.0**-10  # by how much two half-precision cosines differ from exact ones at most

# Where the live generation stands, and whether it has the index of a space.
STANDING = """
    SELECT g.position, to_regclass(format('near_vectors_g%%s.%%s', g.generation, %(index)s::text)) IS NOT NULL
    FROM projections.generations g WHERE g.name = %(name)s AND g.state = 'live'
"""
SEARCHING = """
    SELECT set_config('hnsw.ef_search', %(ef_search)s, true),
        set_config('hnsw.iterative_scan', 'strict_order', true), set_config('enable_seqscan', 'off', true)
"""
# The numbers are written out, since an index that holds a part of a table is used only where that can be seen.
CANDIDATES = """
    SELECT c.call_id, c.input_index, (c.vector::halfvec({dimension})) <=> %(query)s::halfvec({dimension}) AS distance
    FROM projections.near_vectors c
    WHERE c.embedder = {embedder} AND c.dimension = {dimension} AND c.position <= %(position)s {conditions}
    ORDER BY distance LIMIT %(candidates)s
"""
SLICES = """
    SELECT substring(p.vectors FROM wanted.input_index * c.dimension * 4 + 1 FOR c.dimension * 4),
        c.answered_position, wanted.input_index, uuid_send(c.call_id),
        substring(c.input_hashes FROM wanted.input_index * 32 + 1 FOR 32)
    FROM unnest(%b::uuid[], %b::int[]) AS wanted (call_id, input_index)
    JOIN projections.embedding_calls c ON c.call_id = wanted.call_id
    JOIN events.payloads p ON p.originator_id = c.call_id
        AND p.originator_version = c.answered_version AND p.part = 'response'
"""
REQUESTS = """
    SELECT c.call_id, c.created_at, p.body
    FROM unnest(%b::uuid[]) AS wanted (call_id) JOIN projections.embedding_calls c ON c.call_id = wanted.call_id
    LEFT JOIN events.payloads p ON p.originator_id = c.call_id
        AND p.originator_version = 1 AND p.part = 'request'
"""


class SimilarTexts:
    """Searches. indexed: whether there may be pgvector's index."""

    def __init__(self, pool: AsyncConnectionPool[Any], blocks: VectorBlocks, *, indexed: bool = False) -> None:
        self._pool = pool
        self._blocks = blocks
        self._indexed = indexed

    async def similar(
        self, vector: Sequence[float], wanted: VectorFilter | None = None, *, limit: int = 10, as_of: int | None = None
    ) -> list[Row]:
        """The texts whose vectors have the highest cosine with this one, each distinct text once.

        vector: (d,) of any length but 0, by the same model. Texts with equal similarity are in the log's order.
        Raises Rejected for a vector without direction or of another length, a limit that is not 1 to 1000, and where
        there are several models and none is named; NotFound where there is nothing to compare.
        """
        query = np.asarray(vector, dtype=np.float64)
        nearest = NearestTexts(query, limit)
        wanted = wanted or VectorFilter()
        position = last_counted(as_of)
        async with connected(self._pool) as connection:
            space = _space(await spaces_on(connection, as_of), wanted, len(query), as_of)
            covered = 0
            if self._indexed and space.dimension <= LARGEST_INDEXED and space.texts >= FEWEST_INDEXED:
                covered = await _search_index(connection, nearest, space, wanted, as_of)
            if covered >= min(space.last_position, position):
                return await _rows(connection, space, nearest.found())
        async for block in self._blocks.blocks(space, wanted, after=covered, position=position):
            await asyncio.to_thread(nearest.offer, block.vectors, block.places)
        async with connected(self._pool) as connection:
            return await _rows(connection, space, nearest.found())


def _space(every: list[Space], wanted: VectorFilter, dimension: int, as_of: int | None) -> Space:
    fitting = [space for space in every if wanted.names(space)]
    if fitting and all(space.dimension != dimension for space in fitting):
        lengths = sorted({space.dimension for space in fitting})
        raise Rejected(
            f"The vector has {dimension} dimensions, and those to compare it with have "
            f"{' or '.join(map(str, lengths))}; embed the text with the same model",
            fields=("vector",),
        )
    return one_space(every, replace(wanted, dimension=dimension) if len(fitting) > 1 else wanted, as_of)


async def _search_index(
    connection: AsyncConnection[Any], nearest: NearestTexts, space: Space, wanted: VectorFilter, as_of: int | None
) -> int:
    """Offer what the index finds; returns up to which position that is all there is, 0 where it is no help."""
    if (wanted.narrows or as_of is not None) and await count_on(
        connection, space, wanted, position=last_counted(as_of)
    ) < FEWEST_INDEXED:
        return 0
    covered = min(await _standing(connection, space), last_counted(as_of))
    candidates = nearest.limit + SPARE_CANDIDATES
    while covered and candidates <= MOST_CANDIDATES:
        found = await _candidates(connection, nearest, space, wanted, covered, candidates)
        if len(found) < candidates:
            return 0  # the scan gave up before it found enough that fit
        await _offer_slices(connection, nearest, space, found)
        if nearest.worst > 1 - found[-1][2] + HALF_PRECISION:
            return covered
        candidates *= 4
    return 0


async def _rows(connection: AsyncConnection[Any], space: Space, found: list[Near]) -> list[Row]:
    calls = {UUID(bytes=near.call) for near in found}
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        await cursor.execute(REQUESTS, (list(calls),))
        asked = {call_id: (created_at, body) for call_id, created_at, body in await cursor.fetchall()}
    texts = {call_id: texts_of(body) for call_id, (_, body) in asked.items()}
    rows: list[Row] = []
    for near in found:
        call_id = UUID(bytes=near.call)
        rows.append(
            {
                "text": texts[call_id][near.input_index] if near.input_index < len(texts[call_id]) else None,
                "similarity": near.similarity,
                "call_id": call_id,
                "input_index": near.input_index,
                "request_hash": near.text.hex() if any(near.text) else None,
                "provider": space.provider,
                "model": space.model,
                "dimension": space.dimension,
                "created_at": asked[call_id][0],
                "position": near.position,
            }
        )
    return rows


async def _standing(connection: AsyncConnection[Any], space: Space) -> int:
    """Up to which position the index of a space names candidates; 0 where there is none."""
    index = index_name(space.embedder, space.dimension)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(STANDING, {"index": index, "name": NEAR_VECTORS.name})
        row = await cursor.fetchone()
    return int(row[0]) if row and row[1] else 0


async def _candidates(
    connection: AsyncConnection[Any],
    nearest: NearestTexts,
    space: Space,
    wanted: VectorFilter,
    position: int,
    count: int,
) -> list[tuple[UUID, int, float]]:
    """(call, input_index, distance) of vectors up to a position, roughly the nearest, the nearest first."""
    in_view = min(LARGEST_EF_SEARCH, max(SMALLEST_EF_SEARCH, 2 * count))
    statement = CANDIDATES.format(dimension=space.dimension, embedder=space.embedder, conditions=narrowed(wanted))
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(SEARCHING, {"ef_search": str(in_view)})
        await cursor.execute(
            statement.encode(),
            {
                "query": str(nearest.query.tolist()),
                "position": position,
                "candidates": count,
                **parameters_of(wanted),
            },
        )
        return await cursor.fetchall()


async def _offer_slices(
    connection: AsyncConnection[Any], nearest: NearestTexts, space: Space, found: list[tuple[UUID, int, float]]
) -> None:
    """Offer what the provider sent for these."""
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        await cursor.execute(SLICES, ([call_id for call_id, _, _ in found], [index for _, index, _ in found]))
        rows = await cursor.fetchall()
    places = np.array(
        [(position, index, call, text or bytes(HASH_BYTES)) for _, position, index, call, text in rows], dtype=PLACE
    )
    nearest.offer(as_rows([row[0] for row in rows], len(rows), space.dimension), places)
