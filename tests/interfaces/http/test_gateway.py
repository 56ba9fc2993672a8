"""The gateway, byte for byte, over real sockets: what goes through it is what goes straight, and it is all recorded."""

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.gateway import KEY, GatewayUnderTest, gateway, until
from tests.support.misbehaving_server import Behaviour

CHAT = "/chat/completions"
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": "Three primes?"}]}
PASSED_ON = (
    *"rate_limited insufficient_quota server_error bad_request content_filter forbidden not_found".split(),
    *"unprocessable request_timeout conflict bad_gateway error_in_success malformed_json empty_body".split(),
    *"null_content extra_fields no_usage unauthorized".split(),
)
STREAMS = (
    *"ok early_end error_chunk error_first malformed_chunk whole_instead split_bytes comments no_done".split(),
    *"no_last_line tool_calls returns_only returns_and_feeds lines_of_data rate_limited".split(),
    *"cut_stream reset_stream finished_then_reset".split(),
)
BREAKS_OFF_AT = {
    "error_chunk": b'"The model fell over"',
    "error_first": b'"Upstream is busy"',
    "malformed_chunk": b'data: {"choices": [\n',
}


@pytest.fixture(scope="module")
def through(
    server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayUnderTest]:
    with gateway(server, template, tmp_path_factory.mktemp("home")) as found:
        yield found


def post(url: str, body: object, path: str = CHAT, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value.encode() for name, value in headers.items()}
    sent = {"content-type": b"application/json", "authorization": f"Bearer {KEY}".encode(), **named}
    return httpx.post(url + path, content=content, headers=sent, timeout=20)


def streamed(url: str, body: object) -> tuple[int, str, bytes, bool]:
    """Status, content type, all bytes that came, and whether they came to an end."""
    came = b""
    with httpx.stream("POST", url + CHAT, json=body, headers={"authorization": f"Bearer {KEY}"}) as response:
        try:
            for part in response.iter_raw():
                came += part
        except httpx.RemoteProtocolError:
            return response.status_code, response.headers["content-type"], came, False
        except httpx.ReadError:
            return response.status_code, response.headers["content-type"], came, False
    return response.status_code, response.headers["content-type"], came, True


def test_a_body_reaches_the_provider_as_it_was_written_and_is_recorded_so(through: GatewayUnderTest) -> None:
    body = (
        b'{ "messages":[{"role":"user","content":"caf\\u00e9"}],\n "temperature":1.0, "model":"tiny",'
        b' "unheard_of":{"deep":[1e3]} }'
    )
    response = post(through.url, body, openai_beta="assistants=v2", cookie="mine=1")
    received = through.provider.requests[-1]
    assert received.body == body
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert (received.headers["openai-beta"], "cookie" in received.headers) == ("assistants=v2", False)
    assert through.bytes_of(response.headers["x-sq-call-id"], "request") == body


@pytest.mark.parametrize("behaviour", PASSED_ON)
def test_status_and_bytes_of_a_reply_are_the_providers(through: GatewayUnderTest, behaviour: str) -> None:
    through.provider.behave(behaviour, behaviour)
    straight, passed = (post(url, ASKED) for url in (through.provider.url, through.url))
    assert passed.status_code == straight.status_code
    assert passed.content == straight.content.replace(KEY.encode(), b"[key]")
    for name in ("content-type", "retry-after", "x-request-id", "x-ratelimit-remaining-requests"):
        if name != "x-request-id" or behaviour != "unauthorized":  # the server makes it of the body
            assert passed.headers.get(name) == straight.headers.get(name), name
    assert "set-cookie" not in passed.headers
    ended = {"call.answered.v1", "call.failed.v1"} & set(through.facts_of(passed.headers["x-sq-call-id"]))
    succeeds = behaviour in {"null_content", "extra_fields", "no_usage"}
    assert ended == {"call.answered.v1" if succeeds else "call.failed.v1"}


@pytest.mark.parametrize("behaviour", STREAMS)
def test_a_stream_is_the_providers_to_its_last_byte_however_it_ends(through: GatewayUnderTest, behaviour: str) -> None:
    through.provider.behave(behaviour, behaviour)
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    straight, passed = (streamed(url, asked) for url in (through.provider.url, through.url))
    if behaviour in BREAKS_OFF_AT:  # nobody reads on, so that the end may be missing
        assert straight[2].startswith(passed[2])
        assert BREAKS_OFF_AT[behaviour] in passed[2]
        assert (passed[0], passed[1], passed[3]) == (straight[0], straight[1], straight[3])
    else:
        assert passed == straight


def test_an_answer_is_durable_with_its_bytes_before_the_client_has_it(through: GatewayUnderTest) -> None:
    response = post(through.url, ASKED)
    call_id = response.headers["x-sq-call-id"]
    assert through.facts_of(call_id) == ["call.requested.v1", "call.answered.v1"]
    assert through.bytes_of(call_id, "response") == response.content
    assert 0 <= float(response.headers["x-sq-overhead-ms"]) < 5_000
    assert (through.call(response)["status"], response.headers["x-sq-cache"]) == ("success", "off")


def test_a_request_is_durable_before_the_provider_has_it(through: GatewayUnderTest) -> None:
    seen: list[str] = []

    def look(_request: object, _number: int) -> str:
        newest = httpx.get(f"{through.address}/api/audit/events", params={"limit": 1000}).json()["items"]
        seen.append(newest[-1]["event"])
        return "ok"

    through.provider.behave_by(look)
    post(through.url, ASKED)
    through.provider.behave_always("ok")
    assert seen == ["call.requested.v1"]


def test_the_end_of_a_stream_is_kept_back_until_its_answer_is_durable(through: GatewayUnderTest) -> None:
    through.provider.behave(Behaviour("slow_stream", delay_seconds=0.05))
    with httpx.stream("POST", through.url + CHAT, json={**ASKED, "stream": True}) as response:
        call_id = response.headers["x-sq-call-id"]
        facts, whole = [], b""
        for part in response.iter_raw():
            whole += part
            facts.append((b"[DONE]" in whole, through.facts_of(call_id)[-1]))
    assert facts[0] == (False, "call.requested.v1")
    assert facts[-1] == (True, "call.answered.v1")
    assert all(fact == "call.answered.v1" for done, fact in facts if done)
    assert through.bytes_of(call_id, "response") == whole
    assert json.loads(through.bytes_of(call_id, "completion"))["choices"][0]["message"]["content"] == (
        "echo: Three primes?"
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_the_call(through: GatewayUnderTest, stream: bool) -> None:
    connections = through.provider.connections
    through.provider.behave("stalled_stream" if stream else "hang")
    leaving = httpx.Timeout(20, read=0.5)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(through.url + CHAT, json={**ASKED, "stream": stream}, timeout=leaving)
    call = through.newest_call(status="cancelled")
    assert through.facts_of(call["call_id"])[-1] == "call.cancelled.v1"
    assert through.provider.connections >= connections
    if stream:
        assert b"echo:" in through.bytes_of(call["call_id"], "response")


def test_the_provider_is_the_one_that_the_models_name_begins_with(through: GatewayUnderTest) -> None:
    for model, expected in (
        ("openai/tiny", "tiny"),
        ("OpenAI/tiny", "tiny"),
        ("meta-llama/Llama-3", "meta-llama/Llama-3"),
        ("openai/openai/gpt", "openai/gpt"),
        ("openai/", "openai/"),
    ):
        response = post(through.url, b'{"model" : "%s","messages":[{"role":"user","content":"?"}]}' % model.encode())
        assert response.status_code == 200, response.text
        assert (
            through.provider.requests[-1].body
            == b'{"model" : "%s","messages":[{"role":"user","content":"?"}]}' % expected.encode()
        )
        assert through.call(response)["model"] == expected
    twice = {"messages": [{"role": "user", "content": "?", "model": "openai/tiny"}], "model": "openai/tiny"}
    post(through.url, twice)
    assert json.loads(through.provider.requests[-1].body) == {**twice, "model": "tiny"}


def test_groups_tags_and_metadata_are_said_in_headers_and_in_the_body(through: GatewayUnderTest) -> None:
    response = post(
        through.url,
        {**ASKED, "metadata": {"run": "7", "of": "body"}},
        x_sq_group="batch/primes",
        x_sq_tags="a, b",
        x_litellm_tags="b,c",
        x_sq_metadata='{"of": "header", "n": 1}',
        x_litellm_spend_logs_metadata='{"n": 2, "spent": true}',
        **{"helicone-property-app": "café", "helicone-session-id": "s1"},
    )
    assert json.loads(through.provider.requests[-1].body)["metadata"] == {"run": "7", "of": "body"}
    call = through.call(response)
    assert call["metadata"] == {
        "run": "7",
        "of": "header",
        "n": 1,
        "spent": True,
        "app": "café",
        "session_id": "s1",
        "tags": ["b", "c", "a"],
    }
    groups = through.http.get("/api/groups", params={"at_least": response.headers["x-sq-position"]}).json()["items"]
    group_id = next(each["group_id"] for each in groups if each["name"] == "primes")
    members = through.http.get(f"/api/groups/{group_id}/members").json()["items"]
    assert [member["call_id"] for member in members] == [call["call_id"]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-sq-metadata", "{bad"),
        ("x-sq-metadata", "[1]"),
        ("x-sq-group", "no-slash"),
        ("x-sq-cache", "soon"),
        ("x-sq-share", "perhaps"),
        ("x-sq-tags", "x" * 201),
        ("x-sq-tgas", "a"),
        ("x-litellm-spend-logs-metadata", "7"),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_by_its_name(through: GatewayUnderTest, name: str, value: str) -> None:
    before = len(through.provider.requests)
    response = post(through.url, ASKED, **{name: value})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", name)
    assert (name in error["message"], set(error)) == (True, {"message", "type", "param", "code"})
    assert len(through.provider.requests) == before


def test_what_is_no_request_is_refused_in_the_clients_own_shape(through: GatewayUnderTest) -> None:
    url = through.url
    for response, status, said in (
        (post(url, b"{"), 400, "not JSON"),
        (post(url, b""), 400, "empty"),
        (post(url, b"[" * 100_000), 400, "not JSON"),
        (post(url, [1]), 400, "object"),
        (post(url, {"messages": []}), 400, "model"),
        (post(url, {**ASKED, "model": "local/other"}), 400, "local-extract"),
        (post(url, {**ASKED, "model": "azure/x"}), 400, "AZURE_OPENAI_API_KEY"),
        (post(url, ASKED, "/responses"), 404, "/v1/chat/completions"),
        (httpx.get(url + CHAT), 405, "GET"),
        (httpx.post(f"{url}/models"), 405, "POST"),
        (httpx.get(f"{url}/models/none"), 404, "does not exist"),
        (post(url, ASKED, content_encoding="gzip"), 415, "gzip"),
        (post(url, {**ASKED, "temperature": 1}, x_sq_cache="1h"), 400, "temperature"),
    ):
        error = response.json()["error"]
        assert (response.status_code, said in error["message"]) == (status, True), error
        assert set(error) == {"message", "type", "param", "code"}


def test_a_body_that_is_too_large_is_refused_before_it_is_read(through: GatewayUnderTest) -> None:
    parts = urlsplit(through.address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("content-length", "64000001")
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, b"64,000,000" in response.read()) == (413, True)
    connection.close()
    in_chunks = (b" " * 4_000_000 for _ in range(17))
    with suppress(httpx.WriteError, httpx.ReadError):  # the server may have hung up before all is sent
        assert httpx.post(through.url + CHAT, content=in_chunks).status_code == 413


def test_without_a_reply_the_error_says_why_and_which_call_it_was(through: GatewayUnderTest) -> None:
    through.provider.behave("truncated")
    response = post(through.url, ASKED)
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == (502, "provider_error", "connection")
    assert through.facts_of(response.headers["x-sq-call-id"])[-1] == "call.failed.v1"
    through.provider.behave("moved")
    moved = post(through.url, ASKED)
    assert (moved.status_code, "elsewhere.example" in moved.json()["error"]["message"]) == (502, True)
    assert ("location" in moved.headers, "secret" in moved.text) == (False, False)


def test_a_clients_own_retry_names_the_call_that_came_to_nothing(through: GatewayUnderTest) -> None:
    asked = {**ASKED, "user": "retrying"}
    through.provider.behave("server_error")
    first = post(through.url, asked, x_stainless_retry_count="0")
    second = post(through.url, asked, x_stainless_retry_count="1")
    assert (first.status_code, second.status_code) == (500, 200)
    assert through.call(first)["metadata"] == {}
    assert through.call(second)["metadata"] == {"client_retry": 1, "retry_of": first.headers["x-sq-call-id"]}


def test_an_earlier_answer_is_given_again_when_that_is_wished(through: GatewayUnderTest) -> None:
    asked = {**ASKED, "temperature": 0, "user": "caching"}
    first, second = (post(through.url, asked, x_sq_cache="1h") for _ in range(2))
    assert [each.headers["x-sq-cache"] for each in (first, second)] == ["miss", "hit"]
    assert second.content == first.content
    assert through.facts_of(second.headers["x-sq-call-id"]) == ["call.served_from_cache.v1"]
    before = len(through.provider.requests)
    wished = {"x-sq-cache": "1h"}
    with httpx.stream("POST", through.url + CHAT, json={**asked, "stream": True}, headers=wished) as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
    assert (stream.headers["x-sq-cache"], len(through.provider.requests)) == ("hit", before)
    deltas = [json.loads(line)["choices"][0]["delta"].get("content") for line in lines[:-1]]
    assert (deltas, lines[-1]) == (["echo: Three primes?", None], "[DONE]")
    texts = {"model": "text-embedding-3-small", "input": ["a train"]}
    given, again = (post(through.url, texts, "/embeddings", x_sq_cache="1h") for _ in range(2))
    assert (again.headers["x-sq-cache"], again.content == given.content) == ("hit", True)


def test_requests_in_flight_are_shared_only_when_that_is_wished(through: GatewayUnderTest) -> None:
    for behaviour in ("ok", "server_error"):
        through.provider.behave(behaviour)
        paid_for, found = at_the_same_time(through, behaviour, "true")
        assert paid_for == 1
        assert (found[0].status_code, found[0].content) == (found[1].status_code, found[1].content)
    paid_for, found = at_the_same_time(through, "apart", "false")
    assert (paid_for, found[0].content) == (2, found[1].content)
    assert len({each.headers["x-sq-call-id"] for each in found}) == 2


def at_the_same_time(through: GatewayUnderTest, name: str, wished: str) -> tuple[int, list[httpx.Response]]:
    """Two clients ask the same while the provider holds its answers back: how often it is asked, and what they get."""
    asked, before, found = {**ASKED, "user": name}, len(through.provider.requests), []
    through.provider.hold()

    def ask() -> None:
        found.append(post(through.url, asked, x_sq_share=wished))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for each in asking:
        each.start()
    until(lambda: len(through.provider.requests) > before)
    time.sleep(0.3)  # for the other one, which may make a call of its own or join
    through.provider.release()
    for each in asking:
        each.join()
    return len(through.provider.requests) - before, found


def test_models_are_listed_with_their_providers_and_found_by_name(through: GatewayUnderTest) -> None:
    listed = httpx.get(f"{through.url}/models").json()
    assert listed["object"] == "list"
    ids = [model["id"] for model in listed["data"]]
    assert {"openai/tiny", "openai/gpt-4o-mini", "local/local-extract", "local/local-ngrams"} <= {*ids}
    assert "azure" not in {each.partition("/")[0] for each in ids}
    for name in ("openai/tiny", "tiny", "openai%2Ftiny"):
        assert httpx.get(f"{through.url}/models/{name}").json() == {
            "id": "openai/tiny",
            "object": "model",
            "created": 0,
            "owned_by": "openai",
        }


def test_embeddings_pass_through_and_only_exact_ones_are_found_again(through: GatewayUnderTest) -> None:
    model = "text-embedding-3-small"
    for given in ("a train", ["a train", "a bus"], [1, 2, 3], [[1], [2, 3]]):
        asked = {"model": model, "input": given, "dimensions": 4}
        straight, passed = (post(url, asked, "/embeddings") for url in (through.provider.url, through.url))
        assert passed.content == straight.content
        assert through.call(passed)["status"] == "success"
    exact = {"model": model, "input": ["a tram", "a car"], "encoding_format": "base64"}
    passed = post(through.url, exact, "/embeddings")
    before = len(through.provider.requests)
    ours = through.http.post("/api/embeddings", json={"texts": ["a tram", "a bike"], "model": model}).json()
    assert json.loads(through.provider.requests[-1].body)["input"] == ["a bike"]
    assert (len(through.provider.requests), ours["items"][0]["call_id"]) == (before + 1, passed.headers["x-sq-call-id"])


def test_the_gateway_tries_once_unless_it_is_set_otherwise(
    server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("trying")
    with gateway(server, template, home, study_gateway_attempts=2) as trying:
        trying.provider.behave_always("server_error")
        failed = post(trying.url, ASKED)
        assert (failed.status_code, len(trying.provider.requests)) == (500, 2)
        assert failed.headers["x-should-retry"] == "false"  # or the client's own tries would multiply ours


def test_a_provider_that_tries_once_leaves_trying_again_to_the_client(through: GatewayUnderTest) -> None:
    before = len(through.provider.requests)
    through.provider.behave("server_error")
    response = post(through.url, ASKED)
    assert (response.status_code, len(through.provider.requests)) == (500, before + 1)
    assert "x-should-retry" not in response.headers
