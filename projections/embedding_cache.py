"""Every embedded text: which call paid for its vector and where in the log the vector lies. No vector is copied.

A space is what can be compared: the vectors of one provider, endpoint, model and dimension.

A request's row is written when it is made and marked when it is answered, since the answer, which may come many
batches later, does not repeat what the request said. It keeps the block of hashes, 32 bytes a text beside vectors of
some kilobytes, so that the answer's rows are made in the database.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import numpy as np

from application.stored_vectors import IN_PASSING
from domain.calls import CallAnswered, CallJoined, CallRequested, CallServedFromCache
from domain.events import RecordedEvent
from domain.identity import canonical_json, sha256_hex
from projections.read_model import Change, Insert, ReadModel, Table, Update, View

CALLS = Table(
    name="embedding_calls",
    columns={
        "call_id": "uuid NOT NULL",
        "embedder": "bigint NOT NULL",
        "provider": "text NOT NULL",
        "endpoint": "text NOT NULL",
        "model": "text NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "dimensions": "int",  # as asked for
        "in_passing": "boolean NOT NULL",
        "wanted_position": "bigint",  # of what first asked for its texts otherwise, and was answered from it
        "metadata": "jsonb NOT NULL",
        "input_hashes": "bytea NOT NULL",
        "requested_position": "bigint NOT NULL",
        "answered_position": "bigint",
        "answered_version": "int",
        "dimension": "int",
        "texts": "int",
        "cost": "numeric(20,10)",
    },
    key=("call_id",),
    indexes=(
        "(embedder, dimension, answered_position) WHERE answered_position IS NOT NULL",
        "(call_id) WHERE wanted_position IS NOT NULL",
    ),
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

SPACES = Table(
    name="embedding_spaces",
    columns={
        "embedder": "bigint NOT NULL",
        "dimension": "int NOT NULL",
        "provider": "text NOT NULL",
        "endpoint": "text NOT NULL",
        "model": "text NOT NULL",
        "first_position": "bigint NOT NULL",
        "last_position": "bigint NOT NULL",  # these two by now
        "texts": "bigint NOT NULL",
    },
    key=("embedder", "dimension"),
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

COUNT_SPACES = """
    INSERT INTO {schema}.embedding_spaces
        (embedder, dimension, provider, endpoint, model, first_position, last_position, texts)
    SELECT c.embedder, c.dimension, c.provider, c.endpoint, c.model, min(c.answered_position),
        max(c.answered_position), sum(c.texts)
    FROM {schema}.embedding_calls c WHERE c.call_id = ANY (%b::uuid[])
    GROUP BY c.embedder, c.dimension, c.provider, c.endpoint, c.model
    ON CONFLICT (embedder, dimension) DO UPDATE
        SET texts = embedding_spaces.texts + excluded.texts, last_position = excluded.last_position
"""

_insert_calls = Insert(CALLS)
_answer_calls = Update(CALLS, "answered_position", "answered_version", "dimension", "texts", "cost")
_want_calls = Update(CALLS, "wanted_position", where="kept.in_passing AND kept.wanted_position IS NULL")


@lru_cache(maxsize=256)
def embedder_of(provider: str, endpoint: str, model: str) -> int:
    """Who makes vectors, as a number that fits a bigint: the same everywhere, since it is a hash."""
    return int.from_bytes(bytes.fromhex(sha256_hex(canonical_json([provider, endpoint, model])))[:8], signed=True)


def is_in_passing(fact: CallRequested | CallJoined | CallServedFromCache) -> bool:
    """Whether vectors were asked for only to search with them, or to see whether a deployment is there."""
    purpose = fact.metadata.get("purpose")
    return isinstance(purpose, str) and purpose in IN_PASSING


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """Requests first, then what marks them answered or wanted, then a row for each vector, then the spaces."""
    requested: list[tuple[Any, ...]] = []
    answered: list[tuple[Any, ...]] = []
    call_ids: list[UUID] = []
    indexes: list[int] = []
    norms: list[float] = []
    positions: list[int] = []
    wanted: dict[UUID, int] = {}
    for event in events:
        fact = event.fact
        if isinstance(fact, CallRequested) and fact.operation == "embeddings":
            maker = (fact.provider, fact.endpoint, fact.model)
            row = (event.stream_id, embedder_of(*maker), *maker, event.envelope.occurred_at, fact.dimensions)
            said = (is_in_passing(fact), None, fact.metadata, fact.input_hashes)
            requested.append((*row, *said, event.position, None, None, None, None, None))
        elif isinstance(fact, CallAnswered) and fact.vectors is not None:
            block = fact.vectors
            answered.append((event.stream_id, event.position, event.version, block.dimension, block.count, fact.cost))
            call_ids += [event.stream_id] * block.count
            indexes += range(block.count)
            norms += np.frombuffer(block.norms, dtype="<f4").tolist()
            positions += [event.position] * block.count
        elif isinstance(fact, CallJoined | CallServedFromCache) and not is_in_passing(fact):
            for call_id in (fact.call_id,) if isinstance(fact, CallJoined) else fact.call_ids:
                wanted.setdefault(call_id, event.position)
    vectors = [Change(INSERT_VECTORS, [call_ids, indexes, norms, positions])] if call_ids else []
    spaces = [Change(COUNT_SPACES, [[row[0] for row in answered]])] if answered else []
    marked = [*_answer_calls(answered), *_want_calls([*wanted.items()])]
    return [*_insert_calls(requested), *marked, *vectors, *spaces]


EMBEDDING_CACHE = ReadModel(
    name="embedding_cache",
    version=3,
    reads=(CallRequested, CallAnswered, CallJoined, CallServedFromCache),
    tables=(CALLS, VECTORS, SPACES),
    views=(VECTORS_VIEW,),
    changes=changes,
)
