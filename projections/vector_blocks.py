"""Reading vectors in bulk: which there are, and some thousands of them at a time, as one array each time.

Nothing is made for each vector on the way: a long block comes as it lies in the log, and the database joins short ones,
up to a size at which that costs less than it spares.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row
from psycopg_pool import AsyncConnectionPool

from application.stored_vectors import Space, StoredRows, VectorFilter
from domain.errors import NotFound, Rejected, StudyError
from domain.nearest import PLACE
from projections.paging import at_position, last_counted
from projections.reading import connected

S = TypeVar("S", bound=Space)

CALLS_A_PAGE = 4096
BYTES_A_CHUNK = 8 * 1024 * 1024
BYTES_JOINED = 256 * 1024
HASH_BYTES = 32

# A text that was embedded in passing is found once it is asked for otherwise, which the cache answers, or in a group.
WANTED = """
    (NOT c.in_passing
        OR EXISTS (SELECT FROM projections.embedding_calls e WHERE e.call_id = c.call_id
            AND e.wanted_position <= %(position)s)
        OR EXISTS (SELECT FROM projections.group_members m WHERE m.call_id = c.call_id
            AND m.added_position <= %(position)s AND coalesce(m.removed_position > %(position)s, true)))
"""
# Where all texts were embedded in passing, there is nothing to compare. How many texts there were as of a position is
# counted; how many there are is known.
SPACES = f"""
    SELECT s.embedder, s.dimension, s.provider, s.endpoint, s.model, first.dimensions,
        coalesce(earlier.last_position, s.last_position) AS last_position, coalesce(earlier.texts, s.texts) AS texts
    FROM projections.embedding_spaces s
    CROSS JOIN LATERAL (
        SELECT c.dimensions FROM projections.embedding_calls c WHERE c.embedder = s.embedder
            AND c.dimension = s.dimension AND c.answered_position <= %(position)s AND {WANTED}
        ORDER BY c.answered_position LIMIT 1
    ) AS first
    CROSS JOIN LATERAL (
        SELECT max(c.answered_position) AS last_position, sum(c.texts)::bigint AS texts
        FROM projections.embedding_calls c WHERE c.embedder = s.embedder AND c.dimension = s.dimension
            AND c.answered_position <= %(as_of)s::bigint
    ) AS earlier
    WHERE s.first_position <= %(position)s ORDER BY s.first_position
"""  # noqa: S608 - our own names

FITTING = """
    c.embedder = %(embedder)s AND c.dimension = %(dimension)s
    AND c.answered_position > %(after)s AND c.answered_position <= %(position)s
"""
IN_GROUP = """
    EXISTS (SELECT FROM projections.group_members m WHERE m.group_id = %(group_id)s AND m.call_id = c.call_id
        AND m.added_position <= %(position)s AND coalesce(m.removed_position > %(position)s, true))
"""

# A call that doesn't say which texts it embedded gets zeros for their hashes.
CHUNK = """
    SELECT string_agg(p.vectors, ''::bytea ORDER BY wanted.place),
        string_agg(CASE WHEN length(c.input_hashes) = c.texts * 32 THEN c.input_hashes
            ELSE decode(repeat('00', c.texts * 32), 'hex') END, ''::bytea ORDER BY wanted.place)
    FROM unnest(%b::uuid[], %b::int[]) WITH ORDINALITY AS wanted (call_id, run, place)
    JOIN projections.embedding_calls c ON c.call_id = wanted.call_id
    JOIN events.payloads p ON p.originator_id = c.call_id
        AND p.originator_version = c.answered_version AND p.part = 'response'
    GROUP BY wanted.run ORDER BY wanted.run
"""


def narrowed(wanted: VectorFilter) -> str:
    """What SQL adds to conditions about a call `c` for a filter; `parameters_of` gives it the values."""
    found = f"AND {WANTED}"
    if wanted.group_id is not None:
        found += f" AND {IN_GROUP}"
    if wanted.since is not None:
        found += " AND c.created_at >= %(since)s"
    if wanted.until is not None:
        found += " AND c.created_at < %(until)s"
    return found


def parameters_of(wanted: VectorFilter) -> dict[str, Any]:
    """The values of a filter."""
    return {"group_id": wanted.group_id, "since": wanted.since, "until": wanted.until}


BODIES = """
    SELECT wanted.call_id, p.body FROM unnest(%b::uuid[]) AS wanted (call_id)
    LEFT JOIN events.payloads p ON p.originator_id = wanted.call_id
        AND p.originator_version = 1 AND p.part = 'request'
"""


class _Asked(Struct):
    """The part of an embedding request that holds its texts."""

    input: list[str] | str


class EmbeddedCall(NamedTuple):
    """A call of which a block holds vectors, in order."""

    call_id: UUID
    version: int
    position: int
    texts: int
    created_at: datetime


class Block(NamedTuple):
    """Vectors of some calls, whole. vectors: (n, d) float32; places: (n,) of PLACE."""

    vectors: NDArray[np.float32]
    places: NDArray[Any]
    calls: list[EmbeddedCall]


async def spaces_on(connection: AsyncConnection[Any], as_of: int | None, statement: str, kind: type[S]) -> list[S]:
    """What there is to compare, in the order in which it came up. statement: SPACES, or one that adds to it"""
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement.encode(), {"as_of": as_of, "position": last_counted(as_of)})
        return await cursor.fetchall()


def one_space(every: Sequence[S], wanted: VectorFilter, as_of: int | None) -> S:
    """The one that fits. Raises NotFound for none, Rejected naming them when there are several."""
    found = [space for space in every if wanted.names(space)]
    if len(found) == 1:
        return found[0]
    if found:
        raise Rejected(
            f"There are vectors of several models; name one: {_named(found)}",
            fields=("provider", "model", "dimensions"),
        )
    if not every:
        raise NotFound(f"No text has been embedded{at_position(as_of)}; `study embed DATASET` embeds some")
    raise NotFound(f"There are no such vectors{at_position(as_of)}; there are those of {_named(every)}")


async def count_on(connection: AsyncConnection[Any], space: Space, wanted: VectorFilter, *, position: int) -> int:
    """How many vectors fit, up to a position."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(
            f"SELECT coalesce(sum(c.texts), 0) FROM projections.embedding_calls c "  # noqa: S608 - our own names
            f"WHERE {FITTING} {narrowed(wanted)}".encode(),
            _parameters(space, wanted, after=0, position=position),
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


class VectorBlocks:
    """Reads what embedding answers hold."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def spaces(self, *, as_of: int | None = None) -> list[Space]:
        """What there is to compare, in the order in which it came up."""
        async with connected(self._pool) as connection:
            return await spaces_on(connection, as_of, SPACES, Space)

    async def space(self, wanted: VectorFilter, *, as_of: int | None = None) -> Space:
        """The one space that fits. Raises NotFound for none, Rejected naming them when there are several."""
        return one_space(await self.spaces(as_of=as_of), wanted, as_of)

    async def count(self, space: Space, wanted: VectorFilter, *, position: int) -> int:
        """How many vectors fit, up to a position."""
        async with connected(self._pool) as connection:
            return await count_on(connection, space, wanted, position=position)

    async def blocks(
        self, space: Space, wanted: VectorFilter, *, position: int, after: int = 0
    ) -> AsyncIterator[Block]:
        """The vectors that fit whose answers came after one position and up to another, in the log's order.

        Holds some megabytes at a time, or one answer, if that is larger, and no connection between blocks.
        """
        while calls := await self._calls(space, wanted, after=after, position=position):
            for chunk in chunks(calls, [call.texts * space.dimension * 4 for call in calls]):
                yield await self._block(space, chunk)
            after = calls[-1].position

    async def rows(
        self, space: Space, wanted: VectorFilter, *, position: int, texts: bool = True
    ) -> AsyncIterator[StoredRows]:
        """The same, with what is known of each; without `texts` those stay None, and requests are not read."""
        async for vectors, places, calls in self.blocks(space, wanted, position=position):
            found: list[str | None] = [None] * len(places)
            if texts:
                asked = await self._texts(calls)
                found = [text for call in calls for text in (asked[call.call_id] + [None] * call.texts)[: call.texts]]
            yield StoredRows(
                vectors=vectors,
                texts=found,
                request_hashes=places["text"].tobytes(),
                call_ids=[call.call_id for call in calls],
                counts=np.array([call.texts for call in calls]),
                input_indexes=places["input_index"],
                positions=places["position"],
            )

    async def _texts(self, calls: list[EmbeddedCall]) -> dict[UUID, list[str | None]]:
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            await cursor.execute(BODIES, ([call.call_id for call in calls],))
            return {call_id: [*texts_of(body)] for call_id, body in await cursor.fetchall()}

    async def _calls(self, space: Space, wanted: VectorFilter, *, after: int, position: int) -> list[EmbeddedCall]:
        async with connected(self._pool) as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(
                f"SELECT c.call_id, c.answered_version, c.answered_position, c.texts, c.created_at "  # noqa: S608
                f"FROM projections.embedding_calls c WHERE {FITTING} {narrowed(wanted)} "
                f"ORDER BY c.answered_position LIMIT {CALLS_A_PAGE}".encode(),
                _parameters(space, wanted, after=after, position=position),
            )
            return [EmbeddedCall(*row) for row in await cursor.fetchall()]

    async def _block(self, space: Space, calls: list[EmbeddedCall]) -> Block:
        async with (
            connected(self._pool) as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            runs = runs_of([call.texts * space.dimension * 4 for call in calls], BYTES_JOINED)
            await cursor.execute(CHUNK, ([call.call_id for call in calls], runs))
            parts = await cursor.fetchall()
        places = _places(calls, b"".join(hashes for _, hashes in parts))
        return Block(as_rows([vectors for vectors, _ in parts], len(places), space.dimension), places, calls)


def as_rows(parts: Sequence[bytes | None], count: int, dimension: int) -> NDArray[np.float32]:
    """Little-endian float32 bytes as (count, dimension). Raises StudyError when the log holds another number."""
    held = sum(len(part or b"") for part in parts)
    if held != count * dimension * 4:
        raise StudyError(
            f"The log holds {held} bytes where {count} vectors of {dimension} dimensions should lie; "
            "restore the store from a backup"
        )
    return np.frombuffer(b"".join(part or b"" for part in parts), dtype="<f4").reshape(count, dimension)


def runs_of(sizes: Sequence[int], most: int) -> list[int]:
    """Number consecutive items by the run that each belongs to; what is larger than `most` is a run of its own."""
    runs: list[int] = []
    run, room = -1, 0
    for size in sizes:
        if size > room:
            run, room = run + 1, most
        runs.append(run)
        room -= size
    return runs


def chunks(items: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    """Cut items into runs of what is read at once."""
    cut: list[list[Any]] = []
    for item, run in zip(items, runs_of(sizes, BYTES_A_CHUNK), strict=True):
        if run == len(cut):
            cut.append([])
        cut[run].append(item)
    return cut


def _places(calls: list[EmbeddedCall], hashes: bytes) -> NDArray[Any]:
    counts = np.array([call.texts for call in calls])
    places = np.zeros(counts.sum(), dtype=PLACE)
    places["position"] = np.repeat([call.position for call in calls], counts)
    places["input_index"] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    places["call"] = np.repeat(np.frombuffer(b"".join(call.call_id.bytes for call in calls), dtype="V16"), counts)
    places["text"] = np.frombuffer(hashes, dtype=f"V{HASH_BYTES}")
    return places


def _parameters(space: Space, wanted: VectorFilter, *, after: int, position: int) -> dict[str, Any]:
    return {
        "embedder": space.embedder,
        "dimension": space.dimension,
        "after": after,
        "position": position,
        **parameters_of(wanted),
    }


def _named(spaces: Sequence[Space]) -> str:
    return ", ".join(f"{space.provider}/{space.model} ({space.dimension} dimensions)" for space in spaces)


def texts_of(body: bytes | None) -> list[str]:
    """The texts of an embedding request, in order; none where it holds none that can be read."""
    try:
        asked = msgspec.json.decode(body or b"{}", type=_Asked).input
    except msgspec.MsgspecError:
        return []
    return [asked] if isinstance(asked, str) else asked
