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
from projections.near_vectors import FEWEST_INDEXED, INDEXED_TO, LARGEST_INDEXED
from projections.paging import Page, last_counted
from projections.reading import Row, connected, in_json
from projections.vector_blocks import (
    HASH_BYTES,
    SPACES,
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

SEARCHED = f"SELECT s.*, coalesce(({INDEXED_TO}), 0) AS indexed_to FROM ({SPACES}) s"  # noqa: S608 - our own names
# Planning a search anew takes as long as a third of it.
PLANNING = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)"
SEARCHING = """
    SELECT set_config('hnsw.ef_search', %(ef_search)s, true),
        set_config('hnsw.iterative_scan', 'strict_order', true), set_config('enable_seqscan', 'off', true)
"""
# The numbers are written out, since an index that holds a part of a table is used only where that can be seen.
CANDIDATES = """
    WITH near AS MATERIALIZED (
        SELECT c.call_id, c.input_index,
            (c.vector::halfvec({dimension})) <=> %(query)s::halfvec({dimension}) AS distance
        FROM projections.near_vectors c
        WHERE c.embedder = {embedder} AND c.dimension = {dimension} AND c.position <= %(position)s {conditions}
        ORDER BY distance LIMIT {candidates}
    )
    SELECT near.distance, substring(p.vectors FROM near.input_index * {dimension} * 4 + 1 FOR {dimension} * 4),
        c.answered_position, near.input_index, uuid_send(c.call_id),
        substring(c.input_hashes FROM near.input_index * 32 + 1 FOR 32)
    FROM near JOIN projections.embedding_calls c ON c.call_id = near.call_id
    JOIN events.payloads p ON p.originator_id = c.call_id
        AND p.originator_version = c.answered_version AND p.part = 'response'
"""
REQUESTS = """
    SELECT c.call_id, c.created_at, p.body
    FROM unnest(%b::uuid[]) AS wanted (call_id) JOIN projections.embedding_calls c ON c.call_id = wanted.call_id
    LEFT JOIN events.payloads p ON p.originator_id = c.call_id
        AND p.originator_version = 1 AND p.part = 'request'
"""


class SearchedSpace(Space, frozen=True, kw_only=True):
    """Vectors that are searched. indexed_to: up to where in the log their index names candidates; 0 without one."""

    indexed_to: int


class SimilarTexts:
    """Searches. indexed: whether there may be pgvector's index."""

    def __init__(self, pool: AsyncConnectionPool[Any], blocks: VectorBlocks, *, indexed: bool = False) -> None:
        self._pool = pool
        self._blocks = blocks
        self._indexed = indexed

    @in_json
    async def similar(
        self, vector: Sequence[float], wanted: VectorFilter | None = None, *, limit: int = 10, as_of: int | None = None
    ) -> Page[Row]:
        """The texts whose vectors have the highest cosine with this one, each distinct text once.

        vector: (d,) of any length but 0, by the same model. Texts with equal similarity are in the log's order.
        Raises Rejected for a vector without direction or of another length, a limit that is not 1 to 1000, and where
        there are several models and none is named; NotFound where there is nothing to compare.
        """
        query = np.asarray(vector, dtype=np.float64)
        nearest = NearestTexts(query, limit)
        wanted = wanted or VectorFilter()
        position = last_counted(as_of)
        # What needs no answer first is sent together with what does: each round trip counts.
        async with connected(self._pool) as connection, connection.pipeline():
            await connection.execute(PLANNING)
            space = await _space(connection, wanted, len(query), as_of)
            covered = 0
            if self._indexed and space.dimension <= LARGEST_INDEXED and space.texts >= FEWEST_INDEXED:
                covered = await _search_index(connection, nearest, space, wanted, as_of)
            if covered >= min(space.last_position, position):
                return Page(await _rows(connection, space, nearest.found()))
        async for block in self._blocks.blocks(space, wanted, after=covered, position=position):
            await asyncio.to_thread(nearest.offer, block.vectors, block.places)
        async with connected(self._pool) as connection:
            return Page(await _rows(connection, space, nearest.found()))


async def _space(
    connection: AsyncConnection[Any], wanted: VectorFilter, dimension: int, as_of: int | None
) -> SearchedSpace:
    every = await spaces_on(connection, as_of, SEARCHED, SearchedSpace)
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
    connection: AsyncConnection[Any],
    nearest: NearestTexts,
    space: SearchedSpace,
    wanted: VectorFilter,
    as_of: int | None,
) -> int:
    """Offer what the index finds; returns up to which position that is all there is, 0 where it is no help."""
    if (wanted.narrows or as_of is not None) and await count_on(
        connection, space, wanted, position=last_counted(as_of)
    ) < FEWEST_INDEXED:
        return 0
    covered = min(space.indexed_to, last_counted(as_of))
    candidates = nearest.limit + SPARE_CANDIDATES
    while covered and candidates <= MOST_CANDIDATES:
        found = await _candidates(connection, nearest, space, wanted, covered, candidates)
        if len(found) < candidates:
            return 0  # the scan gave up before it found enough that fit
        places = np.array([(*place, text or bytes(HASH_BYTES)) for _, _, *place, text in found], dtype=PLACE)
        nearest.offer(as_rows([vector for _, vector, *_ in found], len(found), space.dimension), places)
        if nearest.worst > 1 - max(distance for distance, *_ in found) + HALF_PRECISION:
            return covered
        candidates *= 4
    return 0


async def _candidates(
    connection: AsyncConnection[Any],
    nearest: NearestTexts,
    space: Space,
    wanted: VectorFilter,
    position: int,
    count: int,
) -> list[tuple[Any, ...]]:
    """Roughly the nearest vectors up to a position: distance, float32 bytes, and the fields of PLACE."""
    in_view = min(LARGEST_EF_SEARCH, max(SMALLEST_EF_SEARCH, 2 * count))
    statement = CANDIDATES.format(
        dimension=space.dimension, embedder=space.embedder, candidates=count, conditions=narrowed(wanted)
    )
    # Nine digits make any float32, and so any half of one.
    query = f"[{','.join([f'{number:.9g}' for number in nearest.query.tolist()])}]"
    parameters = {"query": query, "position": position, **parameters_of(wanted)}
    async with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        await connection.execute(SEARCHING, {"ef_search": str(in_view)})
        await cursor.execute(statement.encode(), parameters)
        return await cursor.fetchall()


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
