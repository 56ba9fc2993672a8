"""Every embedded text: which call paid for its vector and where in the log the vector lies. No vector is copied.

A request's row is written when it is made and marked when it is answered, since the answer, which may come many
batches later, does not repeat what the request said. It keeps the block of hashes, 32 bytes a text beside vectors of
some kilobytes, so that the answer's rows are made in the database.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from application.embed_texts import CachedVector
from domain.calls import CallAnswered, CallRequested
from domain.errors import Rejected
from domain.events import RecordedEvent
from projections.paging import last_counted
from projections.read_model import Change, Insert, ReadModel, Table, Update, View
from projections.reading import connected

CALLS = Table(
    name="embedding_calls",
    columns={
        "call_id": "uuid NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "metadata": "jsonb NOT NULL",
        "input_hashes": "bytea NOT NULL",
        "requested_position": "bigint NOT NULL",
        "answered_position": "bigint",
        "answered_version": "int",
        "dimension": "int",
    },
    key=("call_id",),
)

VECTORS = Table(
    name="embedding_vectors",
    columns={
        "call_id": "uuid NOT NULL",
        "input_index": "int NOT NULL",
        "request_hash": "text",
        "norm": "real NOT NULL",
        "position": "bigint NOT NULL",  # of the answer
    },
    key=("call_id", "input_index"),
    indexes=("(request_hash, position)",),
)

VECTORS_VIEW = View(
    name="embedding_vectors",
    select="""
        SELECT v.call_id, v.input_index, v.request_hash, c.model, c.dimension, v.norm,
            substring(p.vectors FROM v.input_index * c.dimension * 4 + 1 FOR c.dimension * 4) AS vector,
            c.metadata AS metadata_json
        FROM {schema}.embedding_vectors v
        JOIN {schema}.embedding_calls c ON c.call_id = v.call_id
        LEFT JOIN events.payloads p ON p.originator_id = c.call_id
            AND p.originator_version = c.answered_version AND p.part = 'response'
    """,
)

INSERT_VECTORS = """
    INSERT INTO {schema}.embedding_vectors (call_id, input_index, request_hash, norm, position)
    SELECT c.call_id, fresh.input_index,
        nullif(encode(substring(c.input_hashes FROM fresh.input_index * 32 + 1 FOR 32), 'hex'), ''),
        fresh.norm, fresh.position
    FROM unnest(%b::uuid[], %b::int[], %b::real[], %b::bigint[]) AS fresh (call_id, input_index, norm, position)
    JOIN {schema}.embedding_calls c ON c.call_id = fresh.call_id
"""

# The first vector under a hash stands: one that was paid for twice, by two processes at once, is the same anyway.
LOOKUP = """
    SELECT asked.request_hash, first.call_id, c.answered_version, first.input_index, c.dimension
    FROM unnest(%s::text[]) AS asked (request_hash)
    CROSS JOIN LATERAL (
        SELECT v.call_id, v.input_index FROM projections.embedding_vectors v
        WHERE v.request_hash = asked.request_hash AND v.position <= %s ORDER BY v.position, v.input_index LIMIT 1
    ) AS first
    JOIN projections.embedding_calls c ON c.call_id = first.call_id
"""

READ = """
    SELECT substring(p.vectors FROM wanted.input_index * wanted.dimension * 4 + 1 FOR wanted.dimension * 4)
    FROM unnest(%b::uuid[], %b::bigint[], %b::int[], %b::int[])
        WITH ORDINALITY AS wanted (call_id, version, input_index, dimension, place)
    JOIN events.payloads p ON p.originator_id = wanted.call_id
        AND p.originator_version = wanted.version AND p.part = 'response'
    ORDER BY wanted.place
"""

_insert_calls = Insert(CALLS)
_answer_calls = Update(CALLS, "answered_position", "answered_version", "dimension")


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """Requests first, then what marks them answered, then a row for each vector of an answer."""
    requested: list[tuple[Any, ...]] = []
    answered: list[tuple[Any, ...]] = []
    call_ids: list[UUID] = []
    indexes: list[int] = []
    norms: list[float] = []
    positions: list[int] = []
    for event in events:
        fact = event.fact
        if isinstance(fact, CallRequested) and fact.operation == "embeddings":
            row = (event.stream_id, fact.provider, fact.model, fact.metadata, fact.input_hashes)
            requested.append((*row, event.position, None, None, None))
        elif isinstance(fact, CallAnswered) and fact.vectors is not None:
            block = fact.vectors
            answered.append((event.stream_id, event.position, event.version, block.dimension))
            call_ids += [event.stream_id] * block.count
            indexes += range(block.count)
            norms += np.frombuffer(block.norms, dtype="<f4").tolist()
            positions += [event.position] * block.count
    vectors = [Change(INSERT_VECTORS, [call_ids, indexes, norms, positions])] if call_ids else []
    return [*_insert_calls(requested), *_answer_calls(answered), *vectors]


EMBEDDING_CACHE = ReadModel(
    name="embedding_cache",
    version=1,
    reads=(CallRequested, CallAnswered),
    tables=(CALLS, VECTORS),
    views=(VECTORS_VIEW,),
    changes=changes,
)


class EmbeddedTexts:
    """Finds vectors by the hash of what was asked, and reads them out of the log."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def lookup(self, request_hashes: Sequence[str], *, as_of: int | None = None) -> dict[str, CachedVector]:
        """The first vector paid for under each hash, in one round trip; unknown ones are left out."""
        async with connected(self._pool) as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(LOOKUP, (list(request_hashes), last_counted(as_of)))
            return {
                request_hash: CachedVector(call_id, version, input_index, dimension)
                async for request_hash, call_id, version, input_index, dimension in cursor
            }

    async def read_vectors(self, cached: Sequence[CachedVector]) -> NDArray[np.float32]:
        """(n, d) float32, in order, bit for bit as they were stored. Raises Rejected when dimensions differ."""
        if not cached:
            return np.empty((0, 0), dtype=np.float32)
        dimensions = {each.dimension for each in cached}
        if len(dimensions) > 1:
            raise Rejected(
                f"Vectors of dimensions {sorted(dimensions)} can't be put into one array; ask for each alone"
            )
        columns = (
            [each.call_id for each in cached],
            [each.version for each in cached],
            [each.input_index for each in cached],
            [each.dimension for each in cached],
        )
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(READ, columns)
            block = b"".join([vector for (vector,) in await cursor.fetchall()])
        return np.frombuffer(block, dtype="<f4").astype(np.float32).reshape(len(cached), dimensions.pop())
