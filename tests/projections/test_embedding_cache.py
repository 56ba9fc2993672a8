"""Given embedding calls, then their vectors are found by hash and read bit for bit."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest

from application.find_vectors import AnsweredCall
from application.ports import Payload
from application.stored_vectors import VectorFilter
from domain.calls import CallFailed, VectorBlock
from domain.errors import Conflict
from projections import embedded_texts
from tests.projections.log import REQUEST, SERVER_ERROR, answered, attempt_failed, requested

HASHES = [bytes([number]) * 32 for number in range(6)]
VECTORS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)


def block(rows):
    return block_of(VECTORS[rows])


def block_of(vectors):
    norms = np.linalg.norm(vectors, axis=1).astype("<f4")
    payload = Payload(part="response", body=b"{}", vectors=vectors.tobytes(), is_json=True)
    shape = VectorBlock(count=vectors.shape[0], dimension=vectors.shape[1], norms=norms.tobytes())
    return answered(response=payload, vectors=shape), payload


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
    rows = [4, 0, 5, 2, 3]
    found = await queries.embeddings.lookup([HASHES[row].hex() for row in rows])
    assert found.places.tolist() == [0, 1, 3, 4]
    assert found.calls[found.call_numbers[0]] == AnsweredCall(UUID(int=2), 3, 5, 2, Decimal("0.0000045000"))
    assert found.input_indexes.tolist() == [1, 0, 2, 0]
    assert found.position == log.last_position()
    read = np.zeros((5, 5), dtype=np.float32)
    await queries.embeddings.read_into(found, read)
    assert np.array_equal(read[found.places], VECTORS[[4, 0, 2, 3]])
    assert not read[2].any()


@pytest.mark.parametrize("answer_bytes", [1, 60, 10**9])
async def test_slices_and_answers_of_any_size_give_every_text_its_own_vector(
    log, follower, queries, monkeypatch, answer_bytes
):
    monkeypatch.setattr(embedded_texts, "READ_BYTES", answer_bytes)
    chance = np.random.default_rng(1)
    count = 60
    hashes = [bytes([7, number]) * 16 for number in range(count)]
    vectors = chance.standard_normal((count, 5)).astype(np.float32)
    for number, rows in enumerate(np.array_split(chance.permutation(count), 4)):
        log.write(
            UUID(int=number + 1),
            requested(modality="embedding", input_hashes=b"".join(hashes[row] for row in rows)),
            payloads=[REQUEST],
        )
        fact, payload = block_of(vectors[rows])
        log.write(UUID(int=number + 1), fact, payloads=[payload])
    follower.catch_up()
    for wanted in (chance.permutation(count), chance.permutation(count)[:20], [3]):
        found = await queries.embeddings.lookup([hashes[row].hex() for row in wanted])
        read = np.empty((len(wanted), 5), dtype=np.float32)
        await queries.embeddings.read_into(found, read)
        assert np.array_equal(read, vectors[wanted])


async def test_an_answer_batches_after_its_request_is_joined_to_it(log, follower, queries, sql):
    asked(log, 1, [0, 1])
    follower.catch_up()
    assert (await queries.embeddings.lookup([HASHES[0].hex()])).places.size == 0
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
    assert found.calls[found.call_numbers[0]].call_id == UUID(int=1)


async def test_a_failed_call_has_no_vectors(log, follower, queries, sql):
    asked(log, 1, [0])
    log.write(UUID(int=1), CallFailed(attempts=1, error=SERVER_ERROR, total_ms=1.0))
    follower.catch_up()
    assert (await queries.embeddings.lookup([HASHES[0].hex()])).places.size == 0
    assert sql("SELECT * FROM study.embedding_vectors") == []


async def test_as_of_a_position_later_vectors_are_not_there(log, follower, queries):
    position = embedded(log, 1, [0])
    follower.catch_up()
    wanted = [HASHES[0].hex()]
    assert (await queries.embeddings.lookup(wanted, as_of=position - 1)).places.size == 0
    assert (await queries.embeddings.lookup(wanted, as_of=position)).places.tolist() == [0]


async def test_vectors_of_several_dimensions_are_no_one_array(log, follower, queries):
    embedded(log, 1, [0])
    asked(log, 2, [1])
    fact, payload = block_of(VECTORS[[1], :3])
    log.write(UUID(int=2), fact, payloads=[payload])
    follower.catch_up()
    found = await queries.embeddings.lookup([HASHES[row].hex() for row in (0, 1)])
    with pytest.raises(Conflict, match="5 dimensions"):
        found.dimension()


async def test_all_of_a_model_are_read_in_the_logs_order(log, follower, queries):
    embedded(log, 1, [0, 1, 2])
    embedded(log, 2, [3, 4])
    position = asked(log, 3, [5])
    follower.catch_up()
    space = await queries.vectors_in_bulk.space(VectorFilter())
    assert (space.model, space.dimension, space.texts) == ("gpt-4o-mini", 5, 5)
    wanted = VectorFilter()
    assert await queries.vectors_in_bulk.count(space, wanted, position=position) == 5
    blocks = [rows async for rows in queries.vectors_in_bulk.rows(space, wanted, position=position)]
    assert np.array_equal(np.concatenate([rows.vectors for rows in blocks]), VECTORS[:5])
    assert b"".join(rows.request_hashes for rows in blocks) == b"".join(HASHES[:5])
    assert [text for rows in blocks for text in rows.texts] == [None] * 5  # these requests hold no texts
