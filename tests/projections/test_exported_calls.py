"""Given what happened to calls, then these rows of an export."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from domain.errors import Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member
from projections import exported_calls
from projections.call_queries import CallFilter
from projections.exported_calls import COLUMNS
from tests.projections.log import REQUEST, RESPONSE, answered, chat, failed, requested

EVERY = CallFilter()


async def rows(queries, wanted=EVERY, *, position=10**6) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async for batch in queries.calls_in_bulk.batches(wanted, position=position):
        names = [name for name, _ in COLUMNS]
        of_batch = [dict(zip(names, row, strict=True)) for row in zip(*batch.columns, strict=True)]
        assert len(of_batch) == batch.rows
        found += of_batch
    return found


async def test_an_answered_call_has_its_bodies_its_text_and_what_it_cost(log, follower, queries):
    chat(log, 1, answered())
    follower.catch_up()
    (row,) = await rows(queries)
    assert row["request_json"] == REQUEST.body.decode()
    assert row["response_json"] == RESPONSE.body.decode()
    assert row["text"] == '2, 3 and 5 are "prime"'
    assert row["cost"] == Decimal("0.0000045")
    assert (row["status"], row["tokens_total"], row["latency_ms"]) == ("success", 15, 210.25)
    assert (row["call_id"], row["created_at"].utcoffset().total_seconds()) == (str(UUID(int=1)), 0)


async def test_the_rows_are_those_of_the_view(log, follower, queries, sql):
    chat(log, 1, answered())
    chat(log, 2, failed())
    chat(log, 3)
    follower.catch_up()
    shared = [
        "provider",
        "model",
        "modality",
        "status",
        "request_json",
        "response_json",
        "latency_ms",
        "request_hash",
        "created_at",
        "position",
    ]
    texts = [f"{name}::text" if name.endswith("_json") else name for name in shared]
    view = sql(f"SELECT {', '.join(texts)} FROM study.raw_calls ORDER BY position")
    assert [tuple(row[name] for name in shared) for row in await rows(queries)] == view


async def test_an_export_shows_one_position_whatever_happens_meanwhile(log, follower, queries, monkeypatch):
    monkeypatch.setattr(exported_calls, "ROWS_A_PAGE", 2)
    for number in range(1, 6):
        chat(log, number)
    position = log.written
    follower.catch_up()
    wanted = queries.calls_in_bulk.batches(EVERY, position=position)
    first = await anext(wanted)
    for number in range(1, 6):
        log.write(UUID(int=number), answered(), payloads=[RESPONSE])
    chat(log, 6, answered())
    follower.catch_up()
    statuses = [*first.columns[9]]
    async for batch in wanted:
        statuses += batch.columns[9]
    assert statuses == ["requested"] * 5
    assert [row["status"] for row in await rows(queries)] == ["success"] * 6
    assert await queries.calls_in_bulk.count(EVERY, position=position) == 5


@pytest.mark.parametrize(("page", "most_bytes"), [(2, 10**6), (10, 1), (3, 400), (1, 10**6), (5, 10**6)])
async def test_every_call_comes_once_in_order_however_it_is_cut(log, follower, queries, monkeypatch, page, most_bytes):
    monkeypatch.setattr(exported_calls, "ROWS_A_PAGE", page)
    monkeypatch.setattr(exported_calls, "BYTES_A_BATCH", most_bytes)
    for number in range(1, 6):
        chat(log, number, answered())
    follower.catch_up()
    assert [row["call_id"] for row in await rows(queries)] == [str(UUID(int=number)) for number in range(1, 6)]


async def test_calls_are_filtered_as_lists_are(log, follower, queries):
    chat(log, 1, answered())
    chat(log, 2, failed())
    group_id = UUID(int=99)
    log.write(group_id, GroupCreated(group_type="batch", name="primes"))
    added = GroupMembersAdded(group_id=group_id, members=(Member(call_id=UUID(int=2)),))
    log.write(UUID(int=98), added)
    follower.catch_up()

    async def ids(**wanted: Any) -> list[str]:
        return [row["call_id"][-1] for row in await rows(queries, CallFilter(**wanted))]

    assert await ids(status="failed") == ["2"]
    assert await ids(group_id=group_id) == ["2"]
    assert await ids(provider="OpenAI") == ["1", "2"]
    assert await ids(model="other") == []
    assert await ids(actor="ada") == ["1", "2"]
    assert await queries.calls_in_bulk.count(CallFilter(status="failed"), position=log.written) == 1
    with pytest.raises(Rejected, match="no status"):
        await ids(status="odd")


async def test_a_body_that_is_no_json_is_left_out_and_the_call_is_not(log, follower, queries):
    call_id = UUID(int=1)
    binary = type(RESPONSE)(part="response", body=b"\xff\x00audio", media_type="audio/mpeg")
    log.write(call_id, requested(), payloads=[REQUEST])
    log.write(call_id, answered(response=binary), payloads=[binary])
    follower.catch_up()
    (row,) = await rows(queries)
    assert (row["status"], row["response_json"], row["text"]) == ("success", None, None)
