"""Files that are made while they are sent."""

import io
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest

from domain.errors import Unavailable
from projections.exported_calls import ExportedCalls

PROMPTS = ["Name three primes.", "=HYPERLINK(1)", "What is a cat?"]


@pytest.fixture(scope="module")
def asked(reader: httpx.Client) -> int:
    """The position at which three calls, a failure and two vectors are there."""
    for prompt in PROMPTS:
        assert reader.post("/api/calls", json={"prompt": prompt, "provider": "local"}).status_code == 201
    reader.post("/api/groups", json={"group_type": "batch", "name": "empty"})
    embedded = reader.post("/api/embeddings", json={"texts": ["a", "b"], "provider": "local", "dimensions": 8})
    return int(embedded.json()["position"])


def test_calls_come_as_parquet_jsonl_and_csv(reader: httpx.Client, asked: int) -> None:
    answer = reader.get("/api/export/calls", params={"format": "parquet", "modality": "text", "at_least": asked})
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    position = int(answer.headers["x-sq-position"])
    assert position >= asked
    assert answer.headers["content-disposition"] == f'attachment; filename="calls-{position}.parquet"'
    rows = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    assert [PROMPTS[index] in row["request_json"] for index, row in enumerate(rows)] == [True] * 3
    lines = reader.get("/api/export/calls", params={"modality": "text"})
    assert lines.headers["content-type"] == "application/jsonl"
    assert len(lines.text.splitlines()) == 3
    table = reader.get("/api/export/calls", params={"format": "csv", "spreadsheet": True, "modality": "text"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.text.startswith("\ufeff")


def test_what_a_search_finds_comes_as_a_file(reader: httpx.Client, asked: int) -> None:
    wanted = {"q": "primes OR cat -dog", "part": "prompt", "at_least": asked}
    found = reader.get("/api/export/calls", params=wanted)
    assert [prompt in line for prompt, line in zip(PROMPTS[::2], found.text.splitlines(), strict=True)] == [True] * 2
    assert reader.get("/api/export/calls", params={**wanted, "status": "failed"}).text == ""
    assert reader.get("/api/export/calls", params={"q": "primes", "as_of": "0"}).text == ""


def test_an_export_can_be_asked_for_as_of_a_moment(reader: httpx.Client, asked: int) -> None:
    for what in ("calls", "events"):
        before = reader.get(f"/api/export/{what}", params={"as_of": "0", "at_least": 0})
        assert (before.status_code, before.text, before.headers["x-sq-position"]) == (200, "", "0")
    assert reader.get("/api/export/embeddings", params={"as_of": "0", "at_least": 0}).status_code == 404
    half = reader.get("/api/export/events", params={"as_of": "3"})
    assert len(half.text.splitlines()) == 3


def test_calls_added_up_come_as_files(reader: httpx.Client, asked: int) -> None:
    answer = reader.get("/api/export/analytics", params={"format": "parquet", "table": "providers", "at_least": asked})
    rows = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    assert {(row["model"], row["count"]) for row in rows} == {("local-extract", 3), ("local-ngrams", 1)}
    assert reader.get("/api/export/analytics", params={"as_of": "0", "at_least": 0}).status_code == 404
    refused = reader.get("/api/export/analytics", params={"table": "errors", "bucket": "day"})
    assert (refused.status_code, refused.json()["fields"]) == (400, ["bucket"])


def test_events_and_vectors_come_as_files(reader: httpx.Client, asked: int) -> None:
    events = reader.get("/api/export/events", params={"kind": "call", "as_of": str(asked)})
    listed = reader.get("/api/audit/events", params={"kind": "call", "as_of": str(asked), "limit": 1000}).json()
    assert [httpx.Response(200, text=line).json() for line in events.text.splitlines()] == listed["items"]
    matrix = reader.get("/api/export/embeddings", params={"format": "npy", "dimensions": 8})
    assert np.load(io.BytesIO(matrix.content)).shape == (2, 8)


@pytest.mark.parametrize(
    ("what", "parameters", "status", "field"),
    [
        ("calls", {"format": "xlsx"}, 400, "format"),
        ("calls", {"format": "npy"}, 400, "format"),
        ("calls", {"format": "parquet", "spreadsheet": True}, 400, "spreadsheet"),
        ("calls", {"status": "odd"}, 400, "status"),
        ("calls", {"since": "someday"}, 400, "since"),
        ("calls", {"q": "+++"}, 400, "q"),
        ("calls", {"q": "a", "part": "title"}, 400, "part"),
        ("calls", {"part": "prompt"}, 400, "part"),
        ("calls", {"q": "abc", "match": "substring"}, 400, "match"),
        ("calls", {"q": "a", "order": "rank"}, 400, "order"),
        ("calls", {"as_of": "tomorrow"}, 400, "as_of"),
        ("calls", {"modle": "m"}, 400, "modle"),
        ("calls", {"group_id": "0195512a-7c00-7000-8000-000000000001"}, 404, None),
        ("events", {"kind": "nothing"}, 400, "kind"),
        ("events", {"entity": "nothing"}, 404, None),
        ("embeddings", {"model": "none"}, 404, None),
        ("everything", {}, 404, None),
    ],
)
def test_what_can_not_be_exported_is_told_before_the_first_byte(
    reader: httpx.Client, asked: int, what: str, parameters: dict[str, Any], status: int, field: str | None
) -> None:
    answer = reader.get(f"/api/export/{what}", params=parameters)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    if field is not None:
        assert field in answer.json()["fields"]


def test_what_breaks_in_the_middle_is_never_taken_for_whole(
    reader: httpx.Client, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ExportedCalls.batches

    async def breaking(self: ExportedCalls, *asked: Any, **more: Any) -> Any:
        async for batch in whole(self, *asked, **more):
            yield batch
        raise Unavailable("The store went away")

    monkeypatch.setattr(ExportedCalls, "batches", breaking)
    with pytest.raises(httpx.RemoteProtocolError):
        reader.get("/api/export/calls", params={"format": "jsonl"})

    async def broken(self: ExportedCalls, *_: Any, **__: Any) -> Any:
        raise Unavailable("The store is not there")
        yield

    monkeypatch.setattr(ExportedCalls, "batches", broken)
    refused = reader.get("/api/export/calls")
    assert (refused.status_code, refused.json()["title"]) == (503, "The store can't be reached just now")


def test_a_head_tells_of_the_file_and_makes_none(reader: httpx.Client, asked: int) -> None:
    head = reader.head("/api/export/calls", params={"format": "csv", "as_of": str(asked)})
    assert (head.status_code, head.headers["x-sq-position"], head.content) == (200, str(asked), b"")


def test_the_document_names_the_files_media_types(reader: httpx.Client) -> None:
    paths = reader.get("/api/openapi.json").json()["paths"]
    answered = paths["/api/export/embeddings"]["get"]["responses"]["200"]["content"]
    assert set(answered) == {
        "application/vnd.apache.parquet",
        "application/jsonl",
        "text/csv",
        "application/octet-stream",
    }
    assert "application/octet-stream" not in paths["/api/export/calls"]["get"]["responses"]["200"]["content"]
