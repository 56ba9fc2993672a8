"""Given embedding calls, then their vectors are found by hash and read bit for bit."""

from uuid import UUID

import numpy as np
import pytest

from application.embed_texts import CachedVector
from application.ports import Payload
from domain.calls import CallFailed, VectorBlock
from domain.errors import Rejected
from tests.projections.log import REQUEST, SERVER_ERROR, answered, attempt_failed, requested

HASHES = [bytes([number]) * 32 for number in range(6)]
VECTORS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def block(rows):
    norms = np.linalg.norm(VECTORS[rows], axis=1).astype("<f4")
    payload = Payload(part="response", body=b"{}", vectors=VECTORS[rows].tobytes(), is_json=True)
    return answered(response=payload, vectors=VectorBlock(count=len(rows), dimension=5, norms=norms.tobytes())), payload


def asked(log, number, rows):
    hashes = b"".join(HASHES[row] for row in rows)
    return log.write(UUID(int=number), requested(modality="embedding", input_hashes=hashes), payloads=[REQUEST])


def embedded(log, number, rows):
    asked(log, number, rows)
    log.write(UUID(int=number), attempt_failed())
    fact, payload = block(rows)
    return log.write(UUID(int=number), fact, payloads=[payload])


async def test_vectors_are_found_by_hash_and_read_bit_for_bit(log, follower, queries):
    embedded(log, 1, [0, 1, 2])
    embedded(log, 2, [3, 4])
    follower.catch_up()
    hashes = [HASHES[row].hex() for row in (4, 0, 2, 3)]
    found = await queries.embeddings.lookup([*hashes, "ff" * 32])
    assert found[hashes[0]] == CachedVector(UUID(int=2), 3, 1, 5)
    assert set(found) == set(hashes)
    read = await queries.embeddings.read_vectors([found[key] for key in hashes])
    assert read.dtype == np.float32
    assert np.array_equal(read, VECTORS[[4, 0, 2, 3]])


async def test_an_answer_batches_after_its_request_is_joined_to_it(log, follower, queries, sql):
    asked(log, 1, [0, 1])
    follower.catch_up()
    assert await queries.embeddings.lookup([HASHES[0].hex()]) == {}
    fact, payload = block([0, 1])
    log.write(UUID(int=1), fact, payloads=[payload])
    follower.catch_up()
    view = sql(
        "SELECT input_index, request_hash, model, dimension, norm, vector FROM study.embedding_vectors ORDER BY 1"
    )
    assert [row[:4] for row in view] == [(n, HASHES[n].hex(), "gpt-4o-mini", 5) for n in range(2)]
    assert np.array_equal(np.frombuffer(view[1][5], dtype="<f4"), VECTORS[1])
    assert view[1][4] == pytest.approx(float(np.linalg.norm(VECTORS[1])))


async def test_the_first_vector_paid_for_stands(log, follower, queries):
    embedded(log, 1, [0])
    follower.catch_up()
    embedded(log, 2, [1, 0])
    follower.catch_up()
    found = await queries.embeddings.lookup([HASHES[0].hex()])
    assert found[HASHES[0].hex()].call_id == UUID(int=1)


async def test_a_failed_call_has_no_vectors(log, follower, queries, sql):
    asked(log, 1, [0])
    log.write(UUID(int=1), CallFailed(attempts=1, error=SERVER_ERROR, total_ms=1.0))
    follower.catch_up()
    assert await queries.embeddings.lookup([HASHES[0].hex()]) == {}
    assert sql("SELECT * FROM study.embedding_vectors") == []


async def test_as_of_a_position_later_vectors_are_not_there(log, follower, queries):
    position = embedded(log, 1, [0])
    follower.catch_up()
    wanted = [HASHES[0].hex()]
    assert await queries.embeddings.lookup(wanted, as_of=position - 1) == {}
    assert list(await queries.embeddings.lookup(wanted, as_of=position)) == wanted


async def test_vectors_of_several_dimensions_are_refused(queries):
    ref = CachedVector(UUID(int=1), 2, 0, 5)
    with pytest.raises(Rejected, match=r"dimensions \[3, 5\]"):
        await queries.embeddings.read_vectors([ref, CachedVector(UUID(int=1), 2, 0, 3)])
    assert (await queries.embeddings.read_vectors([])).shape == (0, 0)
