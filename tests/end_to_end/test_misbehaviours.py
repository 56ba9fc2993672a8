"""What a provider does wrong, and what the record says of it: the whole application against a real server.

All rows of the table are asked at once, since most of their time is waiting; each test looks at what became of one.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from application.ask_model import Question
from application.embed_texts import TextsToEmbed
from domain.errors import ProviderFailed
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from interfaces.study import Study
from projections.paging import Paging
from tests.conftest import fresh_database
from tests.support.misbehaving_server import Behaviour, MisbehavingServer, Received

ANSWERED = ["requested", "answered"]
RETRIED = ["requested", "attempt_failed", "answered"]
FAILED = ["requested", "attempt_failed", "failed"]
EXHAUSTED = ["requested", "attempt_failed", "attempt_failed", "failed"]


class Row(NamedTuple):
    """What the server does, attempt by attempt, and what is recorded then. The last behaviour holds on."""

    replies: tuple[str | Behaviour, ...]
    events: list[str]
    kind: str | None = None
    text: str | None = None
    embeds: bool = False
    timeout_seconds: float = 20.0
    call_timeout_seconds: float = 60.0

    @property
    def status(self) -> str:
        return "success" if self.events[-1] == "answered" else "failed"


def reply(status: int, body: Any, *headers: str, delay: float = 0.0) -> Behaviour:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{header}\r\n" for header in headers)
    return Behaviour("reply", status=status, body=content, headers=lines, delay_seconds=delay)


def error(code: str, message: str = "No.") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def says(message: dict[str, Any], **more: Any) -> Behaviour:
    return reply(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more})


def several(*choices: dict[str, Any]) -> Behaviour:
    return reply(200, {"choices": list(choices)})


TOOL_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
LOGPROBS = {"content": [{"token": "x", "logprob": -0.1, "top_logprobs": []}]}
HTML = b"<html><h1>nginx</h1></html>"
ROWS = {
    # Statuses that another attempt may mend
    "408": Row((reply(408, error("timeout")), "ok"), RETRIED, "timeout"),
    "409": Row((reply(409, error("conflict")), "ok"), RETRIED, "conflict"),
    "429": Row((reply(429, error("rate_limit_exceeded")), "ok"), RETRIED, "rate_limited"),
    "429 to the end": Row((reply(429, error("rate_limit_exceeded")),), EXHAUSTED, "rate_limited"),
    "429 that asks for a second": Row((reply(429, error("x"), "retry-after: 1"), "ok"), RETRIED, "rate_limited"),
    "429 that asks for an hour": Row((reply(429, error("x"), "retry-after: 3600"),), FAILED, "rate_limited"),
    "429 as text": Row((reply(429, b"slow down"), "ok"), RETRIED, "rate_limited"),
    "500": Row((reply(500, error("server_error")), "ok"), RETRIED, "server_error"),
    "500 without a body": Row((reply(500, b""), "ok"), RETRIED, "server_error"),
    "502 as a page": Row((reply(502, HTML), "ok"), RETRIED, "server_error"),
    "503 that asks for too long": Row((reply(503, b"", "retry-after: 900"),), FAILED, "server_error"),
    "504 to the end": Row((reply(504, HTML),), EXHAUSTED, "server_error"),
    "529": Row((reply(529, error("overloaded_error")), "ok"), RETRIED, "server_error"),
    "first 500, then 401": Row(
        (reply(500, b""), reply(401, error("invalid_api_key"))),
        ["requested", "attempt_failed", "attempt_failed", "failed"],
        "authentication",
    ),
    # Statuses that none will mend
    "400": Row((reply(400, error("invalid_request_error")),), FAILED, "bad_request"),
    "401": Row((reply(401, error("invalid_api_key")),), FAILED, "authentication"),
    "402": Row((reply(402, error("billing")),), FAILED, "permission"),
    "403": Row((reply(403, error("forbidden")),), FAILED, "permission"),
    "404": Row((reply(404, error("model_not_found")),), FAILED, "not_found"),
    "404 as a page": Row((reply(404, HTML),), FAILED, "not_found"),
    "405": Row((reply(405, b""),), FAILED, "bad_request"),
    "422": Row((reply(422, {"detail": [{"loc": ["body"], "msg": "no"}]}),), FAILED, "unprocessable"),
    "429 without money": Row((reply(429, error("insufficient_quota")),), FAILED, "rate_limited"),
    "a content filter": Row((reply(400, error("content_filter")),), FAILED, "content_filter"),
    "Azure's content filter": Row(
        (reply(400, {"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),),
        FAILED,
        "content_filter",
    ),
    "a redirect": Row((reply(308, b"", "location: https://elsewhere.example/"),), FAILED, "bad_request"),
    "an error that is a list": Row((reply(400, [1, 2]),), FAILED, "bad_request"),
    "an error that is null": Row((reply(400, None),), FAILED, "bad_request"),
    # Errors that call themselves a success
    "a success that is a 429": Row((reply(200, error("429")), "ok"), RETRIED, "rate_limited"),
    "a success that is a 401": Row((reply(200, error("401")),), FAILED, "authentication"),
    "a success that is an error": Row((reply(200, {"error": "broken"}),), EXHAUSTED, "server_error"),
    # Time and connections
    "no answer": Row(("hang", "ok"), RETRIED, "timeout", timeout_seconds=5.0),
    "no answer at all": Row(("hang",), EXHAUSTED, "timeout", timeout_seconds=2.0),
    "no answer while the call may last": Row(("hang",), FAILED, "timeout", call_timeout_seconds=2.0),
    "a slow answer": Row((Behaviour("slow", delay_seconds=0.3),), ANSWERED),
    "a reset amid the body": Row(("reset_mid_body", "ok"), RETRIED, "connection"),
    "a body that ends early": Row(("truncated", "ok"), RETRIED, "connection"),
    "a body that always ends early": Row(("truncated",), EXHAUSTED, "connection"),
    # Successes that can't be read
    "half a JSON": Row((reply(200, b'{"choices": [{"mess'), "ok"), RETRIED, "malformed_response"),
    "an empty success": Row((reply(200, b""), "ok"), RETRIED, "malformed_response"),
    "a page as a success": Row((reply(200, HTML),), EXHAUSTED, "malformed_response"),
    "no choices": Row((reply(200, {"choices": []}), "ok"), RETRIED, "malformed_response"),
    "choices that are none": Row((reply(200, {"choices": None}), "ok"), RETRIED, "malformed_response"),
    "no UTF-8": Row(
        (reply(200, b'{"choices": [{"message": {"content": "\xff"}}]}'), "ok"), RETRIED, "malformed_response"
    ),
    # Unusual answers that are answers
    "no usage": Row(("no_usage",), ANSWERED),
    "usage that is no count": Row((says({"content": "x"}, usage={"total_tokens": "many"}),), ANSWERED, text="x"),
    "fields of its own": Row(("extra_fields",), ANSWERED),
    "no content": Row((says({"content": None}),), ANSWERED, text=""),
    "no message": Row((several({"index": 0, "finish_reason": "length"}),), ANSWERED, text=""),
    "a tool call": Row((says({"content": None, "tool_calls": [TOOL_CALL]}),), ANSWERED, text=""),
    "a refusal": Row((says({"content": None, "refusal": "I won't"}),), ANSWERED, text="I won't"),
    "content in parts": Row((says({"content": [{"type": "text", "text": "x"}]}),), ANSWERED, text="x"),
    "several choices": Row(
        (several({"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}),),
        ANSWERED,
        text="a",
    ),
    "logprobs": Row((several({"index": 0, "message": {"content": "x"}, "logprobs": LOGPROBS}),), ANSWERED, text="x"),
    "a zero byte": Row((says({"content": "a\0b"}),), ANSWERED, text="a\0b"),
    "half a character": Row(
        (reply(200, b'{"choices": [{"message": {"content": "\\ud800"}}]}'),), EXHAUSTED, "malformed_response"
    ),
    # Embeddings
    "vectors, 503": Row((reply(503, b""), "ok"), RETRIED, "server_error", embeds=True),
    "vectors, 400": Row((reply(400, error("too_long")),), FAILED, "bad_request", embeds=True),
    "vectors, too many": Row(("wrong_count", "ok"), RETRIED, "malformed_response", embeds=True),
    "vectors, not finite": Row(("nan_vector",), EXHAUSTED, "malformed_response", embeds=True),
    "vectors, cut off": Row(("truncated", "ok"), RETRIED, "connection", embeds=True),
    "vectors, as numbers": Row(("float_list",), ANSWERED, embeds=True),
}


class Ended(NamedTuple):
    """What became of a row."""

    events: list[dict[str, Any]]
    call: dict[str, Any]
    seen: int
    told: str | None


def asked_row(request: Received) -> str:
    body = json.loads(request.body)
    return str(body["input"][0] if "input" in body else body["messages"][0]["content"])


@pytest.fixture(scope="module")
def ended(
    server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Ended]]:
    with fresh_database(server, template) as database, MisbehavingServer() as provider:
        seen: Counter[str] = Counter()

        def rule(request: Received, _number: int) -> str | Behaviour:
            name = asked_row(request)
            seen[name] += 1
            replies = ROWS[name].replies
            return replies[min(seen[name], len(replies)) - 1]

        provider.behave_by(rule)
        calls = asyncio.run(ask_all(database.application_uri, tmp_path_factory.mktemp("home"), provider.url))
        yield {name: Ended(*found, seen[name], told) for name, (*found, told) in calls.items()}


async def ask_all(uri: str, home: Path, url: str) -> dict[str, Any]:
    settings = read_settings(
        database_url=uri,
        study_home=home,
        openai_base_url=url,
        study_default_provider="openai",
        study_chat_attempts=2,
        study_embed_attempts=2,
        study_attempt_timeout_s=20.0,
    )
    async with open_study(settings) as study:
        names = list(ROWS)
        told = await asyncio.gather(*(ask(study, name, ROWS[name]) for name in names))
        await study.house.catch_up()
        ids = {}
        for listed in (await study.calls.list(page=Paging(1000)))["items"]:
            request = (await study.calls.get(listed["call_id"]))["request"]
            ids[request["input"][0] if "input" in request else request["messages"][0]["content"]] = listed["call_id"]
        return {
            name: ((await study.history.of("call", ids[name]))["items"], await study.calls.get(ids[name]), text)
            for name, text in zip(names, told, strict=True)
        }


async def ask(study: Study, name: str, row: Row) -> str | None:
    """What the caller is told: the text, or the failure."""
    try:
        if row.embeds:
            # Two texts that are refused together would be asked for once more, each alone.
            texts = (name,) if row.kind == "bad_request" else (name, f"{name}, too")
            await study.embeddings.of_texts(TextsToEmbed(texts=texts), study.context())
            return None
        question = Question(
            prompt=name, attempt_timeout_seconds=row.timeout_seconds, call_timeout_seconds=row.call_timeout_seconds
        )
        return (await study.asking.ask(question, study.context())).text
    except ProviderFailed as failure:
        return str(failure)


@pytest.mark.parametrize("name", ROWS)
def test_a_misbehaviour_leaves_the_events_that_it_must(ended: dict[str, Ended], name: str) -> None:
    row, found = ROWS[name], ended[name]
    assert [event["event"].split(".")[1] for event in found.events] == row.events
    assert found.call["status"] == row.status
    failures = [event["facts"]["error"] for event in found.events if "attempt_failed" in event["event"]]
    last = failures[-1]["kind"] if failures else None
    assert last == row.kind
    retried = len(failures) - (row.status == "failed")
    assert [failure["transient"] for failure in failures[:retried]] == [True] * retried
    attempts = len(failures) + (row.status == "success")
    # On a machine that is busy elsewhere an attempt may run out of time before the server has read it.
    assert found.seen == attempts or (row.kind == "timeout" and found.seen < attempts)
    end = found.events[-1]["facts"]
    assert end["attempt" if row.status == "success" else "attempts"] == attempts
    if row.status == "success":
        assert end["latency_ms"] <= end["total_ms"]
        if retried:
            assert end["total_ms"] >= 500  # the wait, which the latency does not hold
    if row.text is not None:
        assert (found.told or "") == row.text
        assert (found.call["text"] or "") == row.text
    if row.status == "failed":
        assert found.told is not None
        assert failures[-1]["message"] in found.told
