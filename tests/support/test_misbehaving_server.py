"""The server that misbehaves does what its behaviours say, seen by a plain HTTP client."""

import base64
import hashlib
import http.client
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.misbehaving_server import Behaviour, MisbehavingServer, vector_of

ROOT = Path(__file__).parents[2]
CHAT = {"model": "tiny", "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hi you"}]}
TEXTS = ["one", "two", "three", "four"]
EMBED = {"model": "tiny", "input": TEXTS}


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@pytest.fixture
def client(server: MisbehavingServer) -> Iterator[httpx.Client]:
    # Loading the certificates, which plain HTTP has no use for, takes longer than most of these tests.
    with httpx.Client(base_url=server.root, timeout=5, trust_env=False, verify=False) as client:
        yield client


def chat(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json=CHAT | changes)


def embed(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json=EMBED | changes)


def vectors_in(answer: httpx.Response) -> list[list[float]]:
    return [item["embedding"] for item in answer.json()["data"]]


def indices_in(answer: httpx.Response) -> list[int]:
    return [item["index"] for item in answer.json()["data"]]


def streamed(answer: httpx.Response) -> tuple[str, str]:
    """The text of all chunks, and the last line."""
    *chunks, last = [line.removeprefix("data: ") for line in answer.text.split("\n") if line]
    return "".join(json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks), last


def test_a_chat_echoes_the_last_user_text(client: httpx.Client) -> None:
    answer = chat(client)
    document = answer.json()
    assert answer.status_code == 200
    assert document["choices"][0]["message"] == {"role": "assistant", "content": "echo: hi you"}
    assert document["model"] == "tiny"
    assert document["id"] == f"chatcmpl-{hashlib.sha256(answer.request.content).hexdigest()[:12]}"


def test_the_same_chat_gets_the_same_bytes(client: httpx.Client) -> None:
    assert chat(client).content == chat(client).content
    assert chat(client).json()["id"] != chat(client, model="other").json()["id"]


def test_usage_counts_words(client: httpx.Client) -> None:
    usage = chat(client).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (4, 3, 7)
    assert chat(client, n=2).json()["usage"]["completion_tokens"] == 6
    assert embed(client, input=["a b", "c"]).json()["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_n_choices_are_given(client: httpx.Client) -> None:
    assert [choice["index"] for choice in chat(client, n=3).json()["choices"]] == [0, 1, 2]


def test_a_stream_says_the_same_text_and_ends_with_done(client: httpx.Client) -> None:
    answer = chat(client, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    assert streamed(answer) == ("echo: hi you", "[DONE]")


def test_each_text_has_its_own_vector_of_unit_length() -> None:
    vector = vector_of("one")
    assert vector.shape == (8,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert np.array_equal(vector, vector_of("one"))
    assert not np.array_equal(vector, vector_of("two"))
    assert vector_of("one", 3).shape == (3,)


def test_vectors_come_as_floats_or_base64_and_as_long_as_asked(client: httpx.Client) -> None:
    expected = [vector_of(text, 5) for text in TEXTS]
    floats = vectors_in(embed(client, dimensions=5))
    encoded = vectors_in(embed(client, dimensions=5, encoding_format="base64"))
    decoded = [np.frombuffer(base64.b64decode(str(text)), "<f4") for text in encoded]
    assert np.array_equal(np.array(floats, dtype=np.float32), expected)
    assert np.array_equal(decoded, expected)


def test_a_single_text_gets_a_single_vector(client: httpx.Client) -> None:
    assert np.array_equal(np.array(vectors_in(embed(client, input="one")), dtype=np.float32), [vector_of("one")])


def test_three_models_are_listed(client: httpx.Client) -> None:
    assert len({model["id"] for model in client.get("/v1/models").json()["data"]}) == 3


def test_azures_deployment_is_the_model(client: httpx.Client) -> None:
    said = client.post("/openai/deployments/gpt-4o-mini-deploy/chat/completions?api-version=1", json=CHAT)
    embedded = client.post("/openai/deployments/embed-deploy/embeddings", json={"input": "one"})
    assert (said.status_code, said.json()["model"]) == (200, "gpt-4o-mini-deploy")
    assert (embedded.status_code, embedded.json()["model"]) == (200, "embed-deploy")


def test_azures_chat_needs_no_model_in_its_body(client: httpx.Client) -> None:
    said = client.post("/openai/deployments/gpt-4o-mini-deploy/chat/completions", json={"messages": CHAT["messages"]})
    assert said.json()["model"] == "gpt-4o-mini-deploy"


@pytest.mark.parametrize("operation", ["chat/completions", "embeddings"])
def test_azure_misses_other_deployments(client: httpx.Client, operation: str) -> None:
    answer = client.post(f"/openai/deployments/other/{operation}", json=CHAT | EMBED | {"stream": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "DeploymentNotFound")


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        ("rate_limited", 429, "rate_limit_exceeded"),
        ("insufficient_quota", 429, "insufficient_quota"),
        ("server_error", 500, "server_error"),
        ("bad_request", 400, "invalid_request_error"),
        ("content_filter", 400, "content_filter"),
        ("unauthorized", 401, "invalid_api_key"),
        ("forbidden", 403, "forbidden"),
        ("not_found", 404, "model_not_found"),
        ("request_timeout", 408, "timeout"),
        ("conflict", 409, "conflict"),
        ("unprocessable", 422, "unprocessable"),
        ("error_in_success", 200, 429),
    ],
)
def test_errors_have_their_status_and_code(
    server: MisbehavingServer, client: httpx.Client, behaviour: str, status: int, code: str | int
) -> None:
    server.behave(behaviour)
    answer = chat(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert chat(client).status_code == 200


def test_a_rate_limit_says_how_long_to_wait(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave(
        "rate_limited",
        Behaviour("rate_limited", retry_after=30, as_date=True),
        Behaviour("rate_limited", retry_after=None),
    )
    seconds, date, nothing = (chat(client).headers.get("retry-after") for _ in range(3))
    assert seconds is not None
    assert float(seconds) == 0.01
    assert date is not None
    assert 25 < (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds() <= 30
    assert nothing is None


def test_a_bad_gateway_answers_in_html(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("bad_gateway")
    answer = chat(client)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert answer.text.startswith("<html>")


@pytest.mark.parametrize("headers", [{"authorization": "Bearer sk-planted"}, {"api-key": "sk-planted"}])
def test_unauthorized_tells_the_key(server: MisbehavingServer, client: httpx.Client, headers: dict[str, str]) -> None:
    server.behave("unauthorized")
    answer = client.post("/v1/chat/completions", json=CHAT, headers=headers)
    assert answer.json()["error"]["message"].endswith(": sk-planted")


def test_moved_points_elsewhere(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("moved")
    answer = chat(client)
    assert (answer.status_code, httpx.URL(answer.headers["location"]).host) == (308, "elsewhere.example")


def test_hang_never_answers(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("hang")
    with pytest.raises(httpx.ReadTimeout):
        client.post("/v1/chat/completions", json=CHAT, timeout=0.3)
    assert len(server.requests) == 1


def test_stopping_ends_hanging_and_slow_requests_quickly() -> None:
    with MisbehavingServer() as server, ExitStack() as left_open:
        server.behave("hang", Behaviour("slow", delay_seconds=60))
        connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(2)]
        for connection in connections:
            left_open.callback(connection.close)
            connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
        while len(server.requests) < 2:
            time.sleep(0.001)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
        for connection in connections:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                connection.getresponse()


def test_a_stopped_server_can_be_stopped_again_and_listens_no_more() -> None:
    with MisbehavingServer() as server:
        server.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/models", trust_env=False)


def test_a_reset_comes_in_the_middle_of_the_body(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("reset_mid_body")
    with pytest.raises(httpx.ReadError, match="reset"):
        chat(client)
    assert chat(client).status_code == 200


def test_a_truncated_body_is_shorter_than_it_claims(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("truncated")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        chat(client)
    assert chat(client).status_code == 200


def test_malformed_json_is_not_json(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("malformed_json")
    answer = chat(client)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_an_empty_body_is_empty(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("empty_body")
    answer = chat(client)
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("ask", [chat, embed])
def test_no_usage_leaves_usage_out(server: MisbehavingServer, client: httpx.Client, ask: Any) -> None:
    server.behave("no_usage")
    assert "usage" not in ask(client).json()
    assert "usage" in ask(client).json()


def test_null_content_has_no_text(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("null_content")
    assert chat(client).json()["choices"][0]["message"]["content"] is None


@pytest.mark.parametrize("ask", [chat, embed])
def test_extra_fields_are_added_to_the_right_answer(server: MisbehavingServer, client: httpx.Client, ask: Any) -> None:
    server.behave("ok", "extra_fields")
    usual, unusual = ask(client).json(), ask(client).json()
    assert unusual == {**usual, "surprise": {"deep": [1]}}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6, 7, 50])
def test_shuffled_vectors_keep_their_index(server: MisbehavingServer, client: httpx.Client, count: int) -> None:
    texts = [f"text {number}" for number in range(count)]
    server.behave("shuffled_vectors")
    answer = embed(client, input=texts)
    assert indices_in(answer) != list(range(count))
    assert sorted(indices_in(answer)) == list(range(count))
    for index, vector in zip(indices_in(answer), vectors_in(answer), strict=True):
        assert np.array_equal(np.array(vector, dtype=np.float32), vector_of(texts[index]))


def test_wrong_count_is_not_the_count_asked_for(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("wrong_count")
    assert len(vectors_in(embed(client))) == len(TEXTS) + 1


def test_a_repeated_index_is_repeated(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("repeated_index")
    indices = indices_in(embed(client))
    assert len(indices) == len(TEXTS)
    assert len(set(indices)) < len(TEXTS)


def test_a_nan_vector_is_not_a_number(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave_always("nan_vector")
    assert [math.isnan(vector[0]) for vector in vectors_in(embed(client))] == [False, False, False, True]
    encoded = vectors_in(embed(client, encoding_format="base64"))[-1]
    assert np.isnan(np.frombuffer(base64.b64decode(str(encoded)), "<f4")).any()


def test_one_vector_of_the_wrong_dimension_is_shorter(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("wrong_dimension")
    assert sorted(len(vector) for vector in vectors_in(embed(client))) == [7, 8, 8, 8]


def test_a_float_list_comes_though_base64_was_asked_for(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("float_list")
    vectors = vectors_in(embed(client, encoding_format="base64"))
    assert np.array_equal(np.array(vectors, dtype=np.float32), [vector_of(text) for text in TEXTS])


def test_slow_waits_before_it_answers(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave(Behaviour("slow", delay_seconds=0.1))
    started = time.monotonic()
    assert chat(client).status_code == 200
    assert time.monotonic() - started >= 0.1


def test_a_slow_stream_waits_between_chunks(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave(Behaviour("slow_stream", delay_seconds=0.05))
    with client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as answer:
        moments = [time.monotonic() for line in answer.iter_lines() if line]
    assert len(moments) >= 4
    assert moments[-1] - moments[0] >= 0.1


def test_behaviours_are_taken_in_turn_and_then_all_is_well(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave("server_error", Behaviour("conflict"))
    assert [chat(client).status_code for _ in range(4)] == [500, 409, 200, 200]


def test_one_behaviour_can_hold_for_good(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave_always(Behaviour("rate_limited", retry_after=7))
    assert [chat(client).headers["retry-after"] for _ in range(3)] == ["7", "7", "7"]


def test_a_rule_sees_the_request_and_its_number(server: MisbehavingServer, client: httpx.Client) -> None:
    server.behave_by(lambda request, number: "not_found" if number == 1 or b"bad" in request.body else "ok")
    answers = [chat(client), chat(client), chat(client), chat(client, model="bad")]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 404]


def test_a_behaviour_that_does_not_exist_is_refused(server: MisbehavingServer) -> None:
    with pytest.raises(ValueError, match="rate_limted"):
        server.behave("ok", "rate_limted")
    with pytest.raises(ValueError, match="rate_limted"):
        server.behave_always("rate_limted")
    with pytest.raises(ValueError, match="rate_limted"):
        Behaviour("rate_limted")


def test_requests_are_recorded_as_they_came(server: MisbehavingServer, client: httpx.Client) -> None:
    before = time.time()
    sent = client.post("/v1/chat/completions?a=1", json=CHAT, headers={"X-Mine": "Yes"}).request
    [request] = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/v1/chat/completions?a=1", sent.content)
    assert request.headers["x-mine"] == "Yes"
    assert request.sha256 == hashlib.sha256(sent.content).hexdigest()
    assert before <= request.at <= time.time()


def test_one_connection_carries_many_requests(server: MisbehavingServer) -> None:
    body, count = json.dumps(CHAT), 300
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.connect()
    address = connection.sock.getsockname()
    for _ in range(count):
        connection.request("POST", "/v1/chat/completions", body)
        assert connection.getresponse().read()
        assert connection.sock.getsockname() == address
    connection.close()
    assert len(server.requests) == count


def run_apart(log: Path, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.misbehaving_server", "--port", "0", "--log", str(log), *options]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def statuses_apart(log: Path, count: int, *options: str) -> list[int]:
    """What a server of its own process answers, killed after that."""
    with run_apart(log, *options) as process:
        try:
            assert process.stdout is not None
            with httpx.Client(base_url=process.stdout.readline().strip(), timeout=5, trust_env=False) as client:
                return [client.post("/chat/completions", json=CHAT).status_code for _ in range(count)]
        finally:
            process.kill()


def test_a_process_of_its_own_logs_each_request_before_it_answers(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with run_apart(log, "--delay-ms", "60000") as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/chat/completions", content=json.dumps(CHAT), timeout=0.5, trust_env=False)
        finally:
            process.kill()
    [line] = [json.loads(line) for line in log.read_text().splitlines()]
    assert line.keys() == {"sha256", "path", "at"}
    assert line["sha256"] == hashlib.sha256(json.dumps(CHAT).encode()).hexdigest()
    assert line["path"] == "/v1/chat/completions"


def test_a_process_of_its_own_fails_as_often_as_its_seed_says(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    first = statuses_apart(log, 40, "--fail-rate", "0.5", "--seed", "3")
    assert statuses_apart(log, 40, "--fail-rate", "0.5", "--seed", "3") == first
    assert set(first) == {200, 500}
    assert len(log.read_text().splitlines()) == 80
