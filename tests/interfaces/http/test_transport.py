"""What HTTP itself asks: methods, media types, sizes, codings, and bodies that come slowly or not at all."""

import gzip
import json
import socket
import time
from collections.abc import Iterator

import brotli
import httpx
import pytest

from interfaces.http.requests import HOW_TO_SEND
from tests.interfaces.http.test_problems import refused

PROMPT = {"prompt": "hello", "provider": "local"}


def test_head_is_get_without_its_body(reader: httpx.Client) -> None:
    for address in ("/api/groups", "/api/openapi.json", "/health/live", "/api/docs", "/api/calls/none"):
        whole, head = reader.get(address), reader.head(address)
        assert head.status_code == whole.status_code
        assert head.content == b""
        assert head.headers["content-type"] == whole.headers["content-type"]


def test_options_tells_what_an_address_takes(reader: httpx.Client) -> None:
    for address, methods in (
        ("/api/groups", "GET, HEAD, OPTIONS, POST"),
        ("/api/groups/none/members", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/api/batches", "OPTIONS, POST"),
    ):
        answer = reader.options(address)
        assert (answer.status_code, answer.content, answer.headers["allow"]) == (204, b"", methods)
        assert refused(reader.put(address), 405)["detail"] == f"{address} does not take PUT"
        assert reader.put(address).headers["allow"] == methods
    refused(reader.options("/api/nothing"), 404)
    assert "access-control-allow-origin" not in reader.options("/api/calls", headers={"origin": "http://a.b"}).headers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("br, gzip", "br"),
        ("gzip", "gzip"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("*", "br"),
        ("br;q=0, gzip", "gzip"),
        ("identity", None),
        ("br;q=0, *;q=0", None),
        ("deflate", None),
        ("br;q=many", None),
    ],
)
def test_an_answer_is_compressed_as_the_client_takes_it(
    reader: httpx.Client, accepted: str, coding: str | None
) -> None:
    plain = reader.get("/api/openapi.json", headers={"accept-encoding": "identity"})
    with reader.stream("GET", "/api/openapi.json", headers={"accept-encoding": accepted}) as answer:
        body = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == coding
    assert int(answer.headers["content-length"]) == len(body)
    if coding is not None:
        assert len(body) < len(plain.content) / 4
        body = brotli.decompress(body) if coding == "br" else gzip.decompress(body)
    assert body == plain.content


def test_what_is_small_or_streamed_goes_out_as_it_is(reader: httpx.Client) -> None:
    assert "content-encoding" not in reader.get("/health/live", headers={"accept-encoding": "br"}).headers
    body = {"prompt": "hello " * 2000, "provider": "local", "stream": True}
    streamed = reader.post("/api/calls", json=body, headers={"accept-encoding": "br, gzip"})
    assert "content-encoding" not in streamed.headers
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_a_body_of_another_media_type_is_a_415(reader: httpx.Client) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
        problem = refused(reader.post("/api/groups", content=b"{}", headers={"content-type": kind}), 415)
        assert problem["detail"] == f"The body is {kind}; {HOW_TO_SEND}"
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json", ""):
        problem = refused(reader.post("/api/groups", content=b"{}", headers={"content-type": kind}), 400)
        assert problem["fields"] == ["group_type"]


def test_a_body_over_the_limit_is_a_413_also_in_pieces_and_under_a_key(reader: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(21):
            yield b" " * 1_000_000

    for more in ({}, {"idempotency-key": "k"}):
        headers = {"content-type": "application/json", **more}
        assert (
            "20,000,000 bytes" in refused(reader.post("/api/calls", content=pieces(), headers=headers), 413)["detail"]
        )


def test_a_body_that_may_be_left_away_may_be_null(reader: httpx.Client) -> None:
    for body in (b"", b"null", b"{}"):
        refused(reader.post("/api/conversations/none/fork", content=body), 404)


def test_numbers_texts_and_truths_are_what_they_are(reader: httpx.Client) -> None:
    for name, value in (("n", "1"), ("n", 1.5), ("stream", 0), ("seed", True), ("temperature", "0"), ("share", "yes")):
        assert refused(reader.post("/api/calls", json={**PROMPT, name: value}), 400)["fields"] == [name], name


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": ' + "9" * 400 + "}",
        '{"a": -99999999999999999999}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": NaN}',
        '{"a": ' + "[" * 5_000 + "]" * 5_000 + "}",
        '{"a": ' + '{"a":' * 700 + "1" + "}" * 700 + "}",
    ],
)
def test_what_can_not_be_kept_is_refused(reader: httpx.Client, metadata: str) -> None:
    for address, head in (
        ("/api/groups", '{"group_type": "odd", "name": "odd", "metadata": '),
        ("/api/conversations", '{"provider": "local", "metadata": '),
    ):
        answer = reader.post(address, content=f"{head}{metadata}}}", headers={"content-type": "application/json"})
        refused(answer, 400)


def test_a_position_after_the_end_is_refused_at_once(reader: httpx.Client) -> None:
    began = time.monotonic()
    problem = refused(reader.get("/api/calls", params={"at_least": 2**70}), 400)
    assert problem["fields"] == ["at_least"]
    assert "after the end of the log" in problem["detail"]
    assert time.monotonic() - began < 4


def test_an_empty_search_finds_what_has_any_text(reader: httpx.Client) -> None:
    answer = reader.post("/api/calls", json=PROMPT).json()
    assert reader.get("/api/calls", params={"q": "", "at_least": answer["position"]}).json()["items"]


def test_nobody_waits_for_a_body_for_ever(reader: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.methods.Methods.body_seconds", 0.2)
    host, port = reader.base_url.host, reader.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=20) as line:
        line.sendall(
            b"POST /api/groups HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b'content-length: 100\r\nconnection: close\r\n\r\n{"group_type"'
        )
        answer = b""
        while piece := line.recv(10_000):
            answer += piece
            if b"\r\n\r\n" in answer and b"}" in answer:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "Nothing more of the body came for 0.2 s"
