"""Given embedded texts, then the most similar are found, by pgvector's index and without it alike."""

from uuid import UUID, uuid4

import numpy as np
import pytest
from psycopg_pool import AsyncConnectionPool

from application.ports import Payload
from application.stored_vectors import FOR_SEARCH, FOR_VALIDATION, VectorFilter
from domain.calls import CallJoined, CallServedFromCache, VectorBlock
from domain.errors import NotFound, Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member
from projections import near_vectors, similar_texts
from projections.compare import checksum
from projections.follow import Follower
from projections.generations import generations, install, opened
from projections.near_vectors import NEAR_VECTORS
from projections.queries import Queries
from projections.read_models import READ_MODELS, optional_read_models
from projections.rebuild import rebuild
from projections.replay import WholeLog
from projections.verify import verify
from tests.projections.log import NOON, answered, requested

DIMENSION = 24
TEXTS_A_CALL = 64


def embedded(
    log, call_id, vectors, *, texts, model="e", endpoint="https://api.openai.com/v1", hashes=None, metadata=None
):
    """One call that embedded texts."""
    body = b'{"model":"e","input":[' + b",".join(b'"%s"' % text.encode() for text in texts) + b"]}"
    request = Payload(part="request", body=body, media_type="application/json", is_json=True)
    input_hashes = b"".join(each.encode().rjust(32, b"#") for each in texts) if hashes is None else hashes
    asked = requested(modality="embedding", model=model, input_hashes=input_hashes, metadata=metadata or {})
    log.write(call_id, asked, payloads=[request])
    vectors = np.asarray(vectors, dtype="<f4")
    norms = np.linalg.norm(vectors, axis=1).astype("<f4").tobytes()
    response = Payload(part="response", body=b"{}", vectors=vectors.tobytes(), is_json=True)
    block = VectorBlock(count=len(vectors), dimension=vectors.shape[1], norms=norms)
    return log.write(call_id, answered(response=response, vectors=block), payloads=[response])


def around(centres, count, rng):
    return centres[rng.integers(0, len(centres), count)] + 0.5 * rng.standard_normal((count, centres.shape[1]))


@pytest.fixture
def connection(connect):
    with opened(connect) as connection:
        yield connection


@pytest.fixture
def pgvector(connection, monkeypatch):
    """A database with the read model that needs pgvector, whose index is made early."""
    optional = optional_read_models(connection)
    monkeypatch.setattr(near_vectors, "FEWEST_INDEXED", 500)
    monkeypatch.setattr(similar_texts, "FEWEST_INDEXED", 500)
    return optional


@pytest.fixture
async def both(database, log, connect, connection, pgvector):
    """Queries by the index, queries without, and what keeps the index up. On a server without pgvector both are one."""
    install(connection, (*READ_MODELS, *pgvector))
    hurried, unhurried = Follower(log, connect, READ_MODELS), Follower(log, connect, pgvector)
    async with AsyncConnectionPool(database.application_uri, min_size=1, max_size=4, open=False) as pool:
        yield Queries(pool, indexed=bool(pgvector)), Queries(pool), hurried, unhurried
    hurried.close()
    unhurried.close()


def live(connection):
    (found,) = [each for each in generations(connection, "live") if each.name == "near_vectors"]
    return found


def naive(query, known, limit, fits=lambda row: True):
    """Every text with its cosine in float64, sorted."""
    best = {}
    for row in known:
        vector = np.asarray(row["vector"], dtype=np.float32).astype(np.float64)
        length = np.linalg.norm(vector)
        if length == 0 or not fits(row):
            continue
        similarity = float(vector @ query / length / np.linalg.norm(query))
        key = (-round(similarity, 12), row["position"], row["index"])
        if row["text"] not in best or key < best[row["text"]]:
            best[row["text"]] = key
    return [text for text, _ in sorted(best.items(), key=lambda item: item[1])][:limit]


def fill(log, rng, centres, calls, *, first=0, texts_a_call=TEXTS_A_CALL):
    known = []
    for number in range(first, first + calls):
        call_id = UUID(int=1000 + number)
        vectors = around(centres, texts_a_call, rng).astype(np.float32)
        texts = [f"text {number * texts_a_call + place}" for place in range(texts_a_call)]
        if number % 5 == 4:  # a text that was embedded before, by a process that didn't know
            texts[3] = f"text {(number - 1) * texts_a_call}"
            vectors[5] = 0
        position = embedded(log, call_id, vectors, texts=texts)
        known += [
            {"call": call_id, "index": place, "text": texts[place], "vector": vectors[place], "position": position}
            for place in range(texts_a_call)
        ]
    return known


def texts_of(page):
    return [item["text"] for item in page["items"]]


async def test_the_index_and_looking_at_all_find_the_same_in_the_same_order(both, log, connection, pgvector):
    by_index, by_all, hurried, unhurried = both
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((20, DIMENSION))
    known = fill(log, rng, centres, 30)
    hurried.catch_up()
    unhurried.catch_up()
    known += fill(log, rng, centres, 5, first=30)  # the index has not read these
    hurried.catch_up()
    if pgvector:
        indexes = connection.execute("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'hnsw%%'").fetchone()
        assert indexes == (1,)
    early = known[1500]["position"]
    group, other = UUID(int=5), UUID(int=6)
    log.write(group, GroupCreated(group_type="batch", name="most"))
    added = tuple(Member(call_id=UUID(int=1000 + number)) for number in range(2, 34))
    at_group = log.write(uuid4(), GroupMembersAdded(group_id=group, members=added))
    log.write(other, GroupCreated(group_type="batch", name="few"))
    log.write(uuid4(), GroupMembersAdded(group_id=other, members=added[:2]))
    hurried.catch_up()
    cases = [
        ({}, None, lambda row: True),
        ({}, early, lambda row: row["position"] <= early),
        ({"group_id": group}, None, lambda row: 1002 <= row["call"].int < 1034),
        ({"group_id": group}, at_group - 1, lambda row: False),
        ({"group_id": other}, None, lambda row: row["call"].int in (1002, 1003)),
        ({"provider": "openai", "model": "e"}, None, lambda row: True),
    ]
    for number, (filters, as_of, fits) in enumerate(cases):
        for query in around(centres, 6, rng):
            limit = (1, 10, 100)[number % 3]
            found = await by_index.similar_texts.similar(query, VectorFilter(**filters), limit=limit, as_of=as_of)
            assert found == await by_all.similar_texts.similar(query, VectorFilter(**filters), limit=limit, as_of=as_of)
            assert texts_of(found) == naive(query, known, limit, fits)


async def test_the_index_is_asked_where_there_is_one(both, log, pgvector, monkeypatch):
    """Or the test above would compare one way with itself."""
    by_index, _, hurried, unhurried = both
    rng = np.random.default_rng(2)
    centres = rng.standard_normal((20, DIMENSION))
    fill(log, rng, centres, 20)
    hurried.catch_up()
    unhurried.catch_up()
    seen = []
    monkeypatch.setattr(
        by_index.vectors_in_bulk, "_block", lambda space, calls: seen.append(len(calls)) or 1 / 0, raising=True
    )
    if pgvector:
        assert len((await by_index.similar_texts.similar(centres[0], VectorFilter(), limit=5))["items"]) == 5
        assert seen == []
    else:
        with pytest.raises(ZeroDivisionError):
            await by_index.similar_texts.similar(centres[0], VectorFilter(), limit=5)


async def test_times_bound_what_is_looked_at(both, log):
    by_index, _, hurried, _ = both
    embedded(log, UUID(int=1), [[1, 0]], texts=["early"])
    middle = log.at
    embedded(log, UUID(int=2), [[1, 0.1]], texts=["late"])
    hurried.catch_up()
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(until=middle))) == ["early"]
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(since=middle))) == ["late"]
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(since=NOON))) == ["early", "late"]


async def test_a_text_that_was_embedded_in_passing_is_found_once_it_is_asked_for_otherwise(both, log, pgvector):
    by_index, by_all, hurried, unhurried = both
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((20, DIMENSION))
    fill(log, rng, centres, 10)
    queries = rng.standard_normal((3, DIMENSION))
    searched, joined, group = UUID(int=1), UUID(int=2), UUID(int=3)
    embedded(log, searched, [queries[0]], texts=["searched"], metadata=FOR_SEARCH)
    embedded(log, joined, [queries[1]], texts=["joined"], metadata=FOR_VALIDATION)
    shared = {"modality": "embedding", "provider": "openai", "model": "e"}
    served = {**shared, "hits": 1, "call_ids": (searched,)}
    at_search = log.write(uuid4(), CallServedFromCache(**served, metadata=FOR_SEARCH))
    at_hit = log.write(uuid4(), CallServedFromCache(**served))
    at_join = log.write(uuid4(), CallJoined(**shared, call_id=joined, request_hash="ab" * 32))
    embedded(log, group, [queries[2]], texts=["grouped"], metadata=FOR_SEARCH)
    log.write(UUID(int=5), GroupCreated(group_type="batch", name="some"))
    at_group = log.write(uuid4(), GroupMembersAdded(group_id=UUID(int=5), members=(Member(call_id=group),)))
    hurried.catch_up()
    unhurried.catch_up()
    for query, text, since in (
        (queries[0], "searched", at_hit),
        (queries[1], "joined", at_join),
        (queries[2], "grouped", at_group),
    ):
        for asked in (by_index, by_all):
            assert texts_of(await asked.similar_texts.similar(query, VectorFilter(), limit=1)) == [text]
            assert texts_of(await asked.similar_texts.similar(query, VectorFilter(), limit=1, as_of=since)) == [text]
            assert texts_of(await asked.similar_texts.similar(query, VectorFilter(), limit=1, as_of=since - 1)) != [
                text
            ]
    assert at_search < at_hit


async def test_a_model_that_was_only_asked_whether_it_is_there_has_nothing_to_compare(both, log):
    by_index, _, hurried, _ = both
    embedded(log, UUID(int=1), [[1, 0]], texts=["ping"], model="asked", metadata=FOR_VALIDATION)
    hurried.catch_up()
    with pytest.raises(NotFound, match="No text has been embedded"):
        await by_index.similar_texts.similar([1, 0], VectorFilter())
    embedded(log, UUID(int=2), [[1, 1]], texts=["a cat"], model="used")
    hurried.catch_up()
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter())) == ["a cat"]
    shared = {"modality": "embedding", "provider": "openai", "model": "asked"}
    log.write(uuid4(), CallServedFromCache(**shared, hits=1, call_ids=(UUID(int=1),)))
    hurried.catch_up()
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(model="asked"))) == ["ping"]


async def test_a_result_says_where_its_vector_lies(both, log):
    by_index, _, hurried, _ = both
    position = embedded(log, UUID(int=1), [[0, 1], [3, 4]], texts=["up", "between"])
    hurried.catch_up()
    first, second = (await by_index.similar_texts.similar([1, 0], VectorFilter()))["items"]
    assert first == {
        "text": "between",
        "similarity": pytest.approx(0.6),
        "call_id": str(UUID(int=1)),
        "input_index": 1,
        "request_hash": b"between".rjust(32, b"#").hex(),
        "provider": "openai",
        "model": "e",
        "dimension": 2,
        "created_at": "2026-03-01T12:00:01Z",
        "position": position,
    }
    assert second["similarity"] == 0


async def test_texts_that_lie_in_one_direction_are_in_the_logs_order(both, log):
    """Spelling that a model doesn't see gives equal vectors."""
    by_index, _, hurried, _ = both
    for number in range(12):
        embedded(
            log, UUID(int=number + 1), np.outer(np.arange(1, 51), [1, 2, 3]), texts=[f"{number} {n}" for n in range(50)]
        )
    hurried.catch_up()
    found = await by_index.similar_texts.similar([2, 4, 6.5], VectorFilter(), limit=120)
    order = [(item["position"], item["input_index"]) for item in found["items"]]
    assert len({item["similarity"] for item in found["items"]}) == 1
    assert order == sorted(order)
    assert len(order) == 120


async def test_of_several_models_one_must_be_named(both, log):
    by_index, _, hurried, _ = both
    with pytest.raises(NotFound, match="No text has been embedded"):
        await by_index.similar_texts.similar([1, 0], VectorFilter())
    position = embedded(log, UUID(int=1), [[1, 0]], texts=["one"])
    embedded(log, UUID(int=2), [[0, 1]], texts=["two"], model="f")
    embedded(log, UUID(int=3), [[0, 1, 0]], texts=["three"], model="f")
    hurried.catch_up()
    with pytest.raises(Rejected, match=r"name one: openai/e \(2 dimensions\), openai/f \(2 dimensions\)"):
        await by_index.similar_texts.similar([1, 0], VectorFilter())
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(model="f"))) == ["two"]
    assert texts_of(await by_index.similar_texts.similar([1, 0, 0], VectorFilter())) == ["three"]
    assert texts_of(await by_index.similar_texts.similar([1, 0], VectorFilter(), as_of=position)) == ["one"]
    with pytest.raises(Rejected, match="has 5 dimensions, and those to compare it with have 2 or 3"):
        await by_index.similar_texts.similar([1, 0, 0, 0, 0], VectorFilter())
    with pytest.raises(NotFound, match="there are those of"):
        await by_index.similar_texts.similar([1, 0], VectorFilter(model="g"))


@pytest.mark.parametrize("vector", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0]])
async def test_a_vector_without_direction_is_refused(both, vector):
    with pytest.raises(Rejected, match="no direction"):
        await both[0].similar_texts.similar(vector, VectorFilter())


@pytest.mark.parametrize("limit", [0, 1001])
async def test_a_limit_out_of_bounds_is_refused(both, limit):
    with pytest.raises(Rejected, match="1 to 1000"):
        await both[0].similar_texts.similar([1, 0], VectorFilter(), limit=limit)


async def test_an_answer_that_does_not_say_which_texts_it_embedded_is_found_all_the_same(both, log):
    by_index, _, hurried, _ = both
    embedded(log, UUID(int=1), [[1, 0], [1, 1]], texts=["a", "b"], hashes=b"")
    hurried.catch_up()
    found = await by_index.similar_texts.similar([1, 0], VectorFilter())
    assert texts_of(found) == ["a", "b"]
    assert [item["request_hash"] for item in found["items"]] == [None, None]


async def test_the_copied_vectors_are_what_the_events_say(both, log, connect, connection, pgvector):
    """However the log was cut into batches; and a rebuild makes the index at its end."""
    _, _, _, unhurried = both
    rng = np.random.default_rng(3)
    fill(log, rng, rng.standard_normal((20, DIMENSION)), 12)
    embedded(log, UUID(int=9), rng.standard_normal((2, 4096)), texts=["too", "long"])
    unhurried.catch_up()
    whole = WholeLog(log, connect, pgvector)
    if not pgvector:
        return
    report = verify(whole, "near_vectors")
    assert report.equal
    assert {table.table: table.rows for table in report.tables} == {
        "near_calls": 13,
        "near_vectors": 12 * TEXTS_A_CALL - 2,  # two have no direction, and those too long are left out
        "near_counts": 1,
    }
    before = live(connection)
    sums = [checksum(connection, before.schema, table) for table in NEAR_VECTORS.tables]
    rebuild(whole, "near_vectors")
    after = live(connection)
    assert after.generation > before.generation
    assert [checksum(connection, after.schema, table) for table in NEAR_VECTORS.tables] == sums
    rows = connection.execute("SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'hnsw%%'").fetchone()
    assert rows == (1,)


async def test_what_the_log_does_not_hold_is_told(both, log):
    by_index, _, hurried, _ = both
    request = Payload(part="request", body=b"{}", media_type="application/json", is_json=True)
    log.write(UUID(int=1), requested(modality="embedding", input_hashes=bytes(32)), payloads=[request])
    response = Payload(part="response", body=b"{}", vectors=b"1234", is_json=True)
    block = VectorBlock(count=1, dimension=2, norms=bytes(4))
    log.write(UUID(int=1), answered(response=response, vectors=block), payloads=[response])
    hurried.catch_up()
    with pytest.raises(Exception, match="holds 4 bytes where 1 vectors of 2 dimensions"):
        await by_index.similar_texts.similar([1, 0], VectorFilter())
