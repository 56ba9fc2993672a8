"""Vectors for search by pgvector: the one place where vectors are copied, rounded to half precision and to length 1.

This read model exists where the server has pgvector, and nobody waits for it: what it has not read yet is searched in
the log itself. Its rows depend on events and their blocks alone. A space gets its HNSW index when it is large enough to
need one; the index belongs to no row, so that it changes nothing about a rebuild.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import psycopg
from numpy.typing import NDArray

from domain.calls import CallAnswered, CallRequested
from domain.events import RecordedEvent
from projections.embedding_cache import embedder_of, is_in_passing
from projections.read_model import Insert, ReadModel, Step, Table, View
from projections.vector_blocks import BYTES_JOINED, as_rows, chunks, runs_of

OLDEST_PGVECTOR = (0, 8)  # the first that goes on scanning an index when a filter leaves too little
LARGEST_INDEXED = 4000  # dimensions that an HNSW index takes of a halfvec
FEWEST_INDEXED = 10_000  # vectors of a space below which looking at all of them is fast enough
YEAR_2000 = datetime(2000, 1, 1, tzinfo=UTC)

EMBEDDERS = Table(
    name="near_calls",
    columns={
        "call_id": "uuid NOT NULL",
        "embedder": "bigint NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "in_passing": "boolean NOT NULL",
    },
    key=("call_id",),
)

VECTORS = Table(
    name="near_vectors",
    columns={
        "call_id": "uuid NOT NULL",
        "input_index": "int NOT NULL",
        "embedder": "bigint NOT NULL",
        "dimension": "int NOT NULL",
        "created_at": "timestamptz NOT NULL",  # when the call was requested
        "in_passing": "boolean NOT NULL",
        "position": "bigint NOT NULL",  # of the answer
        "vector": "halfvec NOT NULL",
    },
    key=("call_id", "input_index"),
)

COUNTS = Table(
    name="near_counts",
    columns={"embedder": "bigint NOT NULL", "dimension": "int NOT NULL", "vectors": "bigint NOT NULL"},
    key=("embedder", "dimension"),
)

VIEW = View(
    name="near_vectors",
    select="""
        SELECT v.call_id, v.input_index, v.dimension, v.vector, v.position FROM {schema}.near_vectors v
    """,
)

ASKED = "SELECT call_id, embedder, created_at, in_passing FROM {schema}.near_calls WHERE call_id = ANY (%b::uuid[])"
BLOCKS = """
    SELECT string_agg(p.vectors, ''::bytea ORDER BY wanted.place)
    FROM unnest(%b::uuid[], %b::bigint[], %b::int[]) WITH ORDINALITY AS wanted (call_id, version, run, place)
    JOIN events.payloads p ON p.originator_id = wanted.call_id AND p.originator_version = wanted.version
        AND p.part = 'response'
    GROUP BY wanted.run ORDER BY wanted.run
"""
COPY = "COPY {schema}.near_vectors FROM STDIN (FORMAT BINARY)"
COPY_BEGINS = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_ENDS = b"\xff\xff"
COUNT = """
    INSERT INTO {schema}.near_counts (embedder, dimension, vectors) VALUES (%s, %s, %s)
    ON CONFLICT (embedder, dimension) DO UPDATE SET vectors = near_counts.vectors + excluded.vectors
"""


class _Asked(NamedTuple):
    embedder: int
    created_at: datetime
    in_passing: bool


class AnsweredBlock(NamedTuple):
    """An answer whose vectors are to be copied."""

    call_id: UUID
    version: int
    texts: int
    dimension: int
    position: int


class CopyBlocks(NamedTuple):
    """Reads the blocks of answers out of the log and copies each vector that has a direction."""

    answers: list[AnsweredBlock]

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Some megabytes at a time; nothing is made for each vector."""
        cursor.execute(_in(ASKED, schema), ([answer.call_id for answer in self.answers],))
        asked = {call_id: _Asked(*said) for call_id, *said in cursor.fetchall()}
        answers = sorted((each for each in self.answers if each.call_id in asked), key=_kind(asked))
        for (embedder, dimension), alike in groupby(answers, key=_kind(asked)):
            group = list(alike)
            copied = 0
            for chunk in chunks(group, [each.texts * dimension * 4 for each in group]):
                rows = _rows(chunk, _block(cursor, chunk), [asked[each.call_id] for each in chunk])
                with cursor.copy(_in(COPY, schema)) as copy:
                    copy.write(COPY_BEGINS)
                    copy.write(rows.tobytes())
                    copy.write(COPY_ENDS)
                copied += len(rows)
            cursor.execute(_in(COUNT, schema), (embedder, dimension, copied))


_insert_calls = Insert(EMBEDDERS)


def changes(events: Sequence[RecordedEvent]) -> list[Step]:
    """Requests first, then the vectors of answers. Vectors longer than an index takes are left to the exact search."""
    requested: list[tuple[Any, ...]] = []
    answers: list[AnsweredBlock] = []
    for event in events:
        fact = event.fact
        if isinstance(fact, CallRequested) and fact.operation == "embeddings":
            embedder = embedder_of(fact.provider, fact.endpoint, fact.model)
            requested.append((event.stream_id, embedder, event.envelope.occurred_at, is_in_passing(fact)))
        elif isinstance(fact, CallAnswered) and fact.vectors is not None:
            count, dimension = fact.vectors.count, fact.vectors.dimension
            if dimension <= LARGEST_INDEXED:
                answers.append(AnsweredBlock(event.stream_id, event.version, count, dimension, event.position))
    steps: list[Step] = [*_insert_calls(requested)]
    return [*steps, CopyBlocks(answers)] if answers else steps


def index_name(embedder: int, dimension: int) -> str:
    """What the HNSW index of a space is called, in the schema of its generation; INDEXED_TO looks for it."""
    return f"hnsw_{embedder & 0xFFFFFFFFFFFFFFFF:016x}_{dimension}"


# Up to which position the live generation has read, if it has the index of a space `s`.
INDEXED_TO = """
    SELECT g.position FROM projections.generations g WHERE g.name = 'near_vectors' AND g.state = 'live'
        AND to_regclass(format('near_vectors_g%%s.hnsw_%%s_%%s',
            g.generation, lpad(to_hex(s.embedder), 16, '0'), s.dimension)) IS NOT NULL
"""


def missing_indexes(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """What makes the HNSW indexes that spaces have grown to need."""
    found = connection.execute(
        _in("SELECT embedder, dimension, vectors FROM {schema}.near_counts WHERE vectors >= %s", schema),
        (FEWEST_INDEXED,),
    ).fetchall()
    present = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = %s", (schema,)).fetchall()
    statements = []
    for embedder, dimension, vectors in found:
        name = index_name(embedder, dimension)
        if (name,) not in present:
            statements.append(f"SET LOCAL maintenance_work_mem = '{_megabytes(vectors, dimension)}MB'")
            statements.append(
                f"CREATE INDEX {name} ON {schema}.near_vectors USING hnsw "
                f"((vector::halfvec({dimension})) halfvec_cosine_ops) "
                f"WHERE embedder = {embedder} AND dimension = {dimension}"
            )
    return statements


def pgvector_version(connection: psycopg.Connection[Any]) -> str | None:
    """The version of pgvector in the database, if it is there and its types can be named."""
    with connection.transaction():
        row = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'vector' AND to_regtype('halfvec') IS NOT NULL"
        ).fetchone()
    return None if row is None else str(row[0])


def serves(version: str | None) -> bool:
    """Whether this version of pgvector can be searched with."""
    return version is not None and tuple(map(int, version.split(".")[:2])) >= OLDEST_PGVECTOR


NEAR_VECTORS = ReadModel(
    name="near_vectors",
    version=2,
    reads=(CallRequested, CallAnswered),
    tables=(EMBEDDERS, VECTORS, COUNTS),
    views=(VIEW,),
    changes=changes,
    missing_indexes=missing_indexes,
)


def _kind(asked: dict[UUID, _Asked]) -> Any:
    return lambda answer: (asked[answer.call_id].embedder, answer.dimension)


def _block(cursor: psycopg.Cursor[Any], answers: list[AnsweredBlock]) -> NDArray[np.float32]:
    dimension = answers[0].dimension
    runs = runs_of([each.texts * dimension * 4 for each in answers], BYTES_JOINED)
    columns = ([each.call_id for each in answers], [each.version for each in answers], runs)
    parts = cursor.connection.cursor(binary=True).execute(BLOCKS, columns).fetchall()
    return as_rows([part for (part,) in parts], sum(each.texts for each in answers), dimension)


def _rows(answers: list[AnsweredBlock], vectors: NDArray[np.float32], asked: list[_Asked]) -> NDArray[Any]:
    """Rows as COPY takes them: the number of columns, then the length of each before it, all big-endian."""
    dimension = vectors.shape[1]
    counts = [each.texts for each in answers]
    rows = np.zeros(len(vectors), dtype=_row_type(dimension))
    rows["columns"] = len(VECTORS.columns)
    for name, length in (("call_id", 16), ("input_index", 4), ("embedder", 8), ("dimension", 4)):
        rows[f"{name}_bytes"] = length
    for name, length in (("created_at", 8), ("in_passing", 1), ("position", 8), ("vector", 4 + 2 * dimension)):
        rows[f"{name}_bytes"] = length
    rows["call_id"] = np.repeat(np.frombuffer(b"".join(each.call_id.bytes for each in answers), dtype="V16"), counts)
    rows["input_index"] = np.concatenate([np.arange(count) for count in counts])
    rows["embedder"] = asked[0].embedder
    rows["dimension"] = dimension
    rows["created_at"] = np.repeat([_microseconds(each.created_at) for each in asked], counts)
    rows["in_passing"] = np.repeat([each.in_passing for each in asked], counts)
    rows["position"] = np.repeat([each.position for each in answers], counts)
    rows["vector_dimension"] = dimension
    units, directed = _directions(vectors)
    rows["vector"] = units
    return rows[directed]


def _row_type(dimension: int) -> Any:
    return np.dtype(
        [
            ("columns", ">i2"),
            *(("call_id_bytes", ">i4"), ("call_id", "V16"), ("input_index_bytes", ">i4"), ("input_index", ">i4")),
            *(("embedder_bytes", ">i4"), ("embedder", ">i8"), ("dimension_bytes", ">i4"), ("dimension", ">i4")),
            *(("created_at_bytes", ">i4"), ("created_at", ">i8"), ("in_passing_bytes", ">i4"), ("in_passing", "?")),
            *(("position_bytes", ">i4"), ("position", ">i8")),
            *(("vector_bytes", ">i4"), ("vector_dimension", ">i2"), ("vector_unused", ">i2")),
            ("vector", ">f2", (dimension,)),
        ]
    )


def _directions(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows of length 1, and which of them have a direction at all."""
    rows = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        lengths = np.sqrt((rows * rows).sum(axis=1))
        directed = (lengths > 0) & np.isfinite(lengths)
        return np.where(directed[:, None], rows / lengths[:, None], 0.0), directed


def _microseconds(moment: datetime) -> int:
    since = moment - YEAR_2000
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _megabytes(vectors: int, dimension: int) -> int:
    """What an index of this size is built in without going to the disk, within what a small machine has."""
    return min(1024, max(64, vectors * (2 * dimension + 500) * 5 // 4 // 1024**2))


def _in(sql: str, schema: str) -> bytes:
    return sql.replace("{schema}", schema).encode()
