"""Files over HTTP: kept, found, read whole and in part; and datasets that come as files."""

import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

from infrastructure.settings import Settings, read_settings
from tests.conftest import Database
from tests.interfaces.http.conftest import serving

CONTENT = json.dumps(list(range(1000))).encode()


@pytest.fixture
def group(reader: httpx.Client) -> dict[str, Any]:
    return reader.post("/api/groups", json={"group_type": "run", "name": uuid4().hex}).json()


def kept(reader: httpx.Client, group: dict[str, Any], content: bytes = CONTENT, name: str = "r.json", **fields: str):
    data = {"group_id": group["group_id"], "artifact_type": "results", **fields}
    return reader.post("/api/artifacts", files={"file": (name, content)}, data=data)


def test_a_file_is_kept_found_and_read(reader: httpx.Client, group: dict[str, Any]) -> None:
    answer = kept(reader, group, metadata='{"by": "me"}', step="first step")
    assert answer.status_code == 201, answer.text
    artifact = answer.json()
    assert artifact["name"] == f"{group['group_id']}/first-step/results.json"
    assert (artifact["shape"], artifact["byte_size"], artifact["metadata"]) == ([1000], len(CONTENT), {"by": "me"})
    assert kept(reader, group, metadata="{}", step="first step").json()["artifact_id"] == artifact["artifact_id"]
    assert reader.get(answer.headers["location"]).json() == artifact
    for filters in ({"group_id": group["group_id"]}, {"group_id": group["group_id"], "artifact_type": "results"}):
        assert reader.get("/api/artifacts", params=filters).json()["items"] == [artifact]
    content = reader.get(f"{answer.headers['location']}/content")
    assert (content.status_code, content.content) == (200, CONTENT)
    assert content.headers["etag"] == f'"{artifact["sha256"]}"'
    assert content.headers["content-type"] == "application/json"
    assert content.headers["content-length"] == str(len(CONTENT))
    assert "results.json" in content.headers["content-disposition"]


def test_an_array_is_kept_with_its_shape(reader: httpx.Client, group: dict[str, Any]) -> None:
    sink = io.BytesIO()
    np.save(sink, np.zeros((700, 500)))  # more than what stays in memory
    artifact = kept(reader, group, sink.getvalue(), "C:\\mine\\x.npy").json()
    assert (artifact["shape"], artifact["metadata"], artifact["content_type"]) == (
        [700, 500],
        {"dtype": "float64"},
        "application/x-npy",
    )
    assert reader.get(f"/api/artifacts/{artifact['artifact_id']}/content").content == sink.getvalue()


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=10-", 10, None), ("bytes=-7", -7, None), ("bytes=4000-999999", 4000, None)],
)
def test_one_range_of_a_file_is_read(
    reader: httpx.Client, group: dict[str, Any], header: str, start: int, stop: int | None
) -> None:
    address = f"/api/artifacts/{kept(reader, group).json()['artifact_id']}/content"
    part = reader.get(address, headers={"Range": header})
    expected = CONTENT[start:stop]
    first = CONTENT.index(expected) if start >= 0 else len(CONTENT) + start
    assert (part.status_code, part.content) == (206, expected)
    assert part.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{len(CONTENT)}"


def test_what_is_no_range_gives_the_whole_and_what_is_beyond_is_told(
    reader: httpx.Client, group: dict[str, Any]
) -> None:
    artifact = kept(reader, group).json()
    address, etag = f"/api/artifacts/{artifact['artifact_id']}/content", f'"{artifact["sha256"]}"'
    for header in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", f"bytes=0-{'9' * 5000}"):
        assert reader.get(address, headers={"Range": header}).status_code == 200
    beyond = reader.get(address, headers={"Range": "bytes=999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    assert beyond.json()["type"].endswith("no-such-range")
    assert reader.get(address, headers={"Range": "bytes=0-9", "If-Range": etag}).status_code == 206
    assert reader.get(address, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200
    fresh = reader.get(address, headers={"If-None-Match": f'"x", {etag}'})
    assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    ("files", "data", "field"),
    [
        ({"file": ("r.json", b"{")}, {}, "file"),
        ({"other": ("r.json", b"{}")}, {}, "other"),
        ({"file": ("r.json", b"{}")}, {"artifact_type": "../x"}, "artifact_type"),
        ({"file": ("r.json", b"{}")}, {"artifact_type": ""}, "artifact_type"),
        ({"file": ("r.json", b"{}")}, {"metadata": "[1]"}, "metadata"),
        ({"file": ("r.json", b"{}")}, {"metadta": "{}"}, "metadta"),
    ],
)
def test_a_form_that_is_not_right_is_refused_with_the_field(
    reader: httpx.Client, group: dict[str, Any], files: Any, data: dict[str, str], field: str
) -> None:
    fields = {"group_id": group["group_id"], "artifact_type": "results", **data}
    refused = reader.post("/api/artifacts", files=files, data=fields)
    assert (refused.status_code, refused.json()["fields"]) == (400, [field])


def test_what_is_no_form_or_names_no_group_is_refused(reader: httpx.Client, group: dict[str, Any]) -> None:
    assert reader.post("/api/artifacts", json={}).json()["fields"] == ["file"]
    broken = {"content-type": "multipart/form-data; boundary=x"}
    assert reader.post("/api/artifacts", content=b"no form", headers=broken).status_code == 400
    assert kept(reader, {"group_id": str(uuid4())}).status_code == 404
    assert kept(reader, {"group_id": "none"}).status_code == 404
    assert kept(reader, group, call_id=str(uuid4())).status_code == 404
    assert reader.get(f"/api/artifacts/{uuid4()}/content").status_code == 404
    long_field = kept(reader, group, metadata=json.dumps({"m": "x" * 300_000}))
    assert (long_field.status_code, "The field metadata" in long_field.json()["detail"]) == (413, True)


def test_a_file_that_is_altered_or_gone_is_told(http: httpx.Client, settings: Settings) -> None:
    group = http.post("/api/groups", json={"group_type": "run", "name": "r"}).json()
    artifact = kept(http, group).json()
    (path,) = (settings.study_home / "artifacts").rglob(artifact["sha256"])
    path.write_bytes(b"x" + CONTENT[1:])
    altered = http.get(f"/api/artifacts/{artifact['artifact_id']}/content")
    assert (altered.status_code, "was altered" in altered.json()["detail"]) == (503, True)
    path.unlink()
    gone = http.get(f"/api/artifacts/{artifact['artifact_id']}/content")
    assert (gone.status_code, "is gone from" in gone.json()["detail"]) == (404, True)


def test_an_upload_has_a_limit_of_its_own(database: Database, tmp_path: Path) -> None:
    settings = read_settings(
        database_url=database.application_uri, study_home=tmp_path / "home", study_largest_upload_mb=1
    )
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        group = client.post("/api/groups", json={"group_type": "run", "name": "r"}).json()
        refused = kept(client, group, b"x" * 1_000_001, "large.bin")
        assert (refused.status_code, refused.json()["detail"]) == (413, "The body is larger than 1,000,000 bytes")
        assert kept(client, group, b"x" * 900_000, "fits.bin").status_code == 201


ROWS = "text,kind\nzwölf,a\nzwei,b\n,a\ndrei,a\n"


def import_file(reader: httpx.Client, content: bytes, filename: str, **fields: str) -> httpx.Response:
    return reader.post("/api/datasets", files={"file": (filename, content)}, data=fields)


def test_a_dataset_comes_as_a_file_and_samples_are_drawn_from_it(reader: httpx.Client) -> None:
    name = uuid4().hex
    made = import_file(reader, ROWS.encode("latin-1"), "r.csv", name=name, label_column="kind", encoding="latin-1")
    assert made.status_code == 201, made.text
    assert (made.json()["row_count"], made.json()["skipped_rows"], made.json()["source_name"]) == (3, 1, "r.csv")
    body = {"dataset": name, "name": f"{name} a", "rows": 1, "seed": 3, "where": {"kind": "a"}}
    drawn, again = reader.post("/api/datasets/samples", json=body), reader.post("/api/datasets/samples", json=body)
    assert (drawn.status_code, again.status_code) == (201, 200)
    found = reader.get(f"/api/datasets/{name} a").json()
    assert found["parent_dataset_id"] == made.json()["dataset_id"]
    assert found["sampling"] == {"rows": 1, "seed": 3, "where": {"kind": "a"}}
    parents = reader.get(f"/api/groups/{found['group_id']}/parents").json()["items"]
    assert [(parent["name"], parent["link_type"]) for parent in parents] == [(name, "generates")]
    few = reader.post("/api/datasets/samples", json={**body, "rows": 9, "name": "none"})
    assert (few.status_code, few.json()["fields"]) == (400, ["rows"])
    assert reader.post("/api/datasets/samples", json={**body, "dataset": "nothing"}).status_code == 404


def test_what_is_wrong_with_a_file_is_told_with_its_line(reader: httpx.Client) -> None:
    refused = import_file(reader, ROWS.encode("latin-1"), "r.csv", name=uuid4().hex)
    assert (refused.status_code, refused.json()["fields"]) == (400, ["file", "encoding"])
    assert refused.json()["detail"].startswith("r.csv, line 2: byte 0xf6")
    assert import_file(reader, b"a\n", "r.csv").json()["fields"] == ["name"]
    lines = import_file(reader, b"one\ntwo\n", "lines.txt", name=uuid4().hex).json()
    assert (lines["row_count"], lines["text_column"]) == (2, "text")
    assert reader.post("/api/datasets", content=b"").json()["detail"].startswith("The body is empty")
    assert reader.post("/api/datasets", content=b"{").json()["detail"].startswith("The body is not JSON")
    large = reader.post("/api/datasets", content=b" " * 20_000_001)
    assert (large.status_code, "upload a file instead" in large.json()["detail"]) == (413, True)
