"""The `openai` SDK through the gateway and straight to the provider: same content, same errors.

Other clients, each in an environment of its own: `python -m tests.end_to_end.gateway_clients`.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.support.gateway import KEY, GatewayUnderTest, gateway
from tests.support.misbehaving_server import Behaviour

ASKED: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Three primes?"}]}
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
TOOL_CALLS = [
    {"id": f"call_{number}", "type": "function", "function": {"name": "add", "arguments": f'{{"a": {number}}}'}}
    for number in (1, 2)
]


class Primes(BaseModel):
    numbers: list[int]


@pytest.fixture(scope="module")
def through(
    server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayUnderTest]:
    with gateway(server, template, tmp_path_factory.mktemp("home")) as found:
        yield found


def outcome(work: Callable[[], Any]) -> Any:
    """What a client comes to: what it gives, or what it raises and says."""
    try:
        found = work()
    except openai.APIStatusError as error:
        return type(error).__name__, error.status_code, error.body, error.message
    except openai.OpenAIError as error:
        return type(error).__name__, str(error)
    except json.JSONDecodeError as error:
        return type(error).__name__, str(error)
    return found.model_dump(warnings=False) if isinstance(found, BaseModel) else found


def both(
    through: GatewayUnderTest, work: Callable[[OpenAI], Any], behaviour: str | Behaviour = "ok", *, retries: int = 0
) -> Any:
    """The outcome, which is the same both ways."""
    found = []
    for url in (through.provider.url, through.url):
        through.provider.behave(behaviour)
        with OpenAI(api_key=KEY, base_url=url, max_retries=retries) as client:
            found.append(outcome(lambda client=client: work(client)))  # type: ignore[misc]
    assert found[1] == found[0]
    return found[1]


def reply(**choice: Any) -> Behaviour:
    """An answer of one choice, word for word."""
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "tiny", "choices": [{"index": 0, **choice}]}
    return Behaviour("reply", delay_seconds=0, body=json.dumps(body).encode())


def test_chats_of_every_kind_are_the_same_both_ways(through: GatewayUnderTest) -> None:
    create = lambda **more: lambda client: client.chat.completions.create(**ASKED, **more)  # noqa: E731
    assert both(through, create())["choices"][0]["message"]["content"] == "echo: Three primes?"
    assert len(both(through, create(n=3))["choices"]) == 3
    called = reply(message={"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}, finish_reason="tool_calls")
    answer = both(through, create(tools=[TOOL], parallel_tool_calls=True), called)
    assert [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["call_1", "call_2"]
    logprobs = {"content": [{"token": "2", "logprob": -0.1, "bytes": [50], "top_logprobs": []}], "refusal": None}
    likely = reply(message={"role": "assistant", "content": "2"}, finish_reason="stop", logprobs=logprobs)
    assert both(through, create(logprobs=True, top_logprobs=1), likely)["choices"][0]["logprobs"] == logprobs
    assert json.loads(through.provider.requests[-1].body)["top_logprobs"] == 1


def test_a_schema_and_a_picture_reach_the_provider(through: GatewayUnderTest) -> None:
    parsed = reply(message={"role": "assistant", "content": '{"numbers": [2, 3, 5]}'}, finish_reason="stop")
    answer = both(through, lambda client: client.chat.completions.parse(**ASKED, response_format=Primes), parsed)
    assert answer["choices"][0]["message"]["parsed"] == {"numbers": [2, 3, 5]}
    assert json.loads(through.provider.requests[-1].body)["response_format"]["type"] == "json_schema"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"png").decode()}}
    seen = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]}]
    both(through, lambda client: client.chat.completions.create(model="tiny", messages=seen))
    assert json.loads(through.provider.requests[-1].body)["messages"][0]["content"][1] == picture


@pytest.mark.parametrize("behaviour", ["ok", "tool_calls", "comments", "early_end", "cut_stream", "error_chunk"])
def test_a_stream_is_the_same_both_ways(through: GatewayUnderTest, behaviour: str) -> None:
    def read(client: OpenAI) -> list[Any]:
        chunks = client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
        return [chunk.model_dump() for chunk in chunks]

    found = both(through, read, behaviour)
    assert isinstance(found, list) == (behaviour in {"ok", "tool_calls", "early_end"})


@pytest.mark.parametrize(
    "behaviour",
    "rate_limited insufficient_quota server_error bad_request content_filter forbidden not_found unprocessable "
    "request_timeout conflict bad_gateway error_in_success malformed_json empty_body".split(),
)
def test_an_error_is_the_same_both_ways(through: GatewayUnderTest, behaviour: str) -> None:
    both(through, lambda client: client.chat.completions.create(**ASKED), behaviour)


def test_what_the_sdk_tries_again_is_another_call_that_names_the_first(through: GatewayUnderTest) -> None:
    before = len(through.provider.requests)
    asked = {**ASKED, "user": "of the SDK"}
    both(through, lambda client: client.chat.completions.create(**asked), "rate_limited", retries=2)
    assert len(through.provider.requests) == before + 4
    call = through.newest_call(status="success")
    assert (call["metadata"]["client_retry"], "retry_of" in call["metadata"]) == (1, True)


def test_embeddings_of_every_kind_are_the_same_both_ways(through: GatewayUnderTest) -> None:
    model = "text-embedding-3-small"
    for more in (
        {"input": "a train"},
        {"input": ["a train", "a bus"], "encoding_format": "float"},
        {"input": ["a train"], "encoding_format": "base64", "dimensions": 4},
        {"input": [1, 2, 3]},
        {"input": [[1, 2], [3]]},
    ):
        both(through, lambda client, more=more: client.embeddings.create(model=model, **more))  # type: ignore[misc]
    both(through, lambda client: client.embeddings.create(model=model, input="a train"), "server_error")


async def test_the_asynchronous_client_asks_many_at_a_time(through: GatewayUnderTest) -> None:
    async with AsyncOpenAI(api_key="whatever", base_url=through.url) as client:

        async def ask(number: int) -> str | None:
            messages: Any = [{"role": "user", "content": str(number)}]
            answer = await client.chat.completions.create(model="tiny", messages=messages)
            return answer.choices[0].message.content

        assert await asyncio.gather(*map(ask, range(20))) == [f"echo: {number}" for number in range(20)]
        stream = await client.chat.completions.create(**ASKED, stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert said == "echo: Three primes?"


def test_a_provider_of_another_shape_answers_in_the_shape_that_clients_read(through: GatewayUnderTest) -> None:
    with OpenAI(api_key="whatever", base_url=through.url) as client:
        messages: Any = [{"role": "user", "content": "The cat sat. The dog ran. The cat slept."}]
        asked: dict[str, Any] = {"model": "local/local-extract", "messages": messages}
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
        assert whole.choices[0].message.content
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert said == whole.choices[0].message.content
        assert (chunks[-1].usage, chunks[-2].choices[0].finish_reason) == (whole.usage, "stop")
        embedded = client.embeddings.create(model="local/local-ngrams", input=["a train", "a bus"], dimensions=64)
        floats = client.embeddings.create(
            model="local/local-ngrams", input="a train", dimensions=64, encoding_format="float"
        )
        assert embedded.data[0].embedding == floats.data[0].embedding
        assert [each.index for each in embedded.data] == [0, 1]
        for wrong in ({"n": 2}, {"messages": "hello"}):
            with pytest.raises(openai.BadRequestError) as error:
                client.chat.completions.create(**{**asked, **wrong})
            assert error.value.param in wrong
        with pytest.raises(openai.BadRequestError, match="texts"):
            client.embeddings.create(model="local/local-ngrams", input=[1, 2])


def test_models_are_listed_and_retrieved(through: GatewayUnderTest) -> None:
    with OpenAI(api_key="whatever", base_url=through.url) as client:
        assert "openai/tiny" in {model.id for model in client.models.list()}
        assert client.models.retrieve("local/local-extract").owned_by == "local"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody/knows")
