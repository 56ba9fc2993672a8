"""Streams over real HTTP, whatever becomes of them: what is told, what is recorded, and what is tried again."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from application.ask_model import Answer, AskModel, Question
from application.call_provider import AttemptPolicy, CallProvider
from application.group_calls import GroupCalls
from application.providers import ChatRequest, PreparedRequest, Provider
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from application.stream_answer import StreamAnswer
from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallRequested
from domain.errors import ProviderFailed, Rejected
from domain.events import Fact
from infrastructure.providers.event_stream import ChunkedChat, ServerEvent, ServerEvents
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.wire_format import Malformed
from tests.infrastructure.providers.test_providers import azure, hyperbolic, openai
from tests.support.fours_of_letters import FoursOfLetters
from tests.support.given_when_then import CONTEXT, ListStore, notebook
from tests.support.misbehaving_server import Behaviour, MisbehavingServer
from tests.support.scripted_provider import Directory

PROMPT = "zwölf Primzahlen – für 7 €?"
ECHO = f"echo: {PROMPT}"
TWO_WORDS = "echo: zwölf"
Failed, Answered = CallAttemptFailed, CallAnswered


class Asking:
    """The use case over a list store and a provider that is real."""

    def __init__(self, provider: Provider, *, call_timeout_seconds: float = 60) -> None:
        self.store = ListStore()
        self.notebook = notebook(self.store)
        self.ask = AskModel(
            ShareCalls(self.notebook, CallProvider(self.notebook, chance=random.Random(0))),
            ReuseAnswers(self.notebook, self.store),
            Directory(provider),  # type: ignore[arg-type]
            GroupCalls(self.notebook),
            lambda: AttemptPolicy(attempts=2, attempt_timeout_seconds=0.5, call_timeout_seconds=call_timeout_seconds),
            FoursOfLetters(),
        )
        self.told = ""

    async def stream(self) -> Answer:
        stream = StreamAnswer(self.ask)(Question(prompt=PROMPT), CONTEXT)
        async for piece in stream:
            self.told += piece
        return stream.answer

    def body(self, part: str, version: int | None = None) -> bytes:
        """A body of the only call, beside its last event unless another is named."""
        call_id = self.store.events[0].stream_id
        payload = self.store.payloads.get((call_id, version or len(self.store.events), part))
        assert payload is not None, list(self.store.payloads)
        return payload.body or b""

    def text(self, version: int | None = None) -> str | None:
        """What the completion says."""
        text: str | None = msgspec.json.decode(self.body("completion", version))["choices"][0]["message"]["content"]
        return text


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@pytest.fixture(params=[openai, azure, hyperbolic], ids=lambda make: make.__name__)
async def provider(request: pytest.FixtureRequest, server: MisbehavingServer) -> AsyncIterator[Provider]:
    made: Provider = request.param(server)
    yield made
    await made.aclose()


@pytest.fixture
async def asking(server: MisbehavingServer) -> AsyncIterator[Asking]:
    made = openai(server)
    yield Asking(made)
    await made.aclose()


def kinds(asking: Asking) -> list[type[Fact]]:
    facts = [type(fact) for fact in asking.store.facts()]
    assert facts[0] is CallRequested
    return facts[1:]


async def test_a_stream_is_sent_as_recorded_and_kept_as_it_came_and_as_one_answer(
    provider: Provider, server: MisbehavingServer
) -> None:
    asking = Asking(provider)
    answer = await asking.stream()
    assert asking.told == answer.text == asking.text() == ECHO
    assert (answer.tokens.completion, answer.finish_reason) == (7, "stop")
    assert server.requests[0].body == asking.body("request", 1)
    sent = msgspec.json.decode(server.requests[0].body)
    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})
    (answered,) = asking.store.facts(CallAnswered)
    assert isinstance(answered, CallAnswered)
    assert (answered.response.media_type, answered.response.is_json) == ("text/event-stream", False)
    assert answered.completion is not None
    assert answered.completion.is_json
    assert 0 < (answer.first_token_ms or 0) <= answer.latency_ms
    assert (answer.tokens_per_second or 0) > 0
    raw = asking.body("response")
    assert raw.startswith(b"data: {")
    assert raw.endswith(b"data: [DONE]\n\n")


async def test_the_completion_is_what_the_unstreamed_answer_would_have_been(
    provider: Provider, server: MisbehavingServer
) -> None:
    asking = Asking(provider)
    await asking.stream()
    whole = await provider.send(_prepared(provider, stream=False), timeout_seconds=5)
    expected, found = msgspec.json.decode(whole.body), msgspec.json.decode(asking.body("completion"))
    assert {name: found[name] for name in expected if name != "id"} == {
        name: value for name, value in expected.items() if name != "id"
    }


async def test_streaming_is_transport_and_the_requests_hash_is_the_same(asking: Asking) -> None:
    await asking.stream()
    await asking.ask(Question(prompt=PROMPT), CONTEXT)
    hashes = {fact.request_hash for fact in asking.store.facts(CallRequested) if isinstance(fact, CallRequested)}
    assert len(hashes) == 1


async def test_an_earlier_answer_is_given_in_one_piece_streamed_or_not(
    asking: Asking, server: MisbehavingServer
) -> None:
    question = Question(prompt=PROMPT, seed=1, cache_seconds=60)
    for first_streams in (True, False):
        pieces: list[str] = []
        if first_streams:
            await asking.ask.streamed(question, CONTEXT, pieces.append)
            assert "".join(pieces) == ECHO
            answer = await asking.ask(question, CONTEXT)
        else:
            answer = await asking.ask.streamed(question, CONTEXT, pieces.append)
            assert pieces == [ECHO]
        assert (answer.text, answer.cached) == (ECHO, True)
    assert len(server.requests) == 1


async def test_a_stream_shares_no_call_that_is_under_way(asking: Asking, server: MisbehavingServer) -> None:
    server.behave_always(Behaviour("slow_stream", delay_seconds=0.05))
    question = Question(prompt=PROMPT)
    pieces: tuple[list[str], list[str]] = ([], [])
    await asyncio.gather(*(asking.ask.streamed(question, CONTEXT, told.append) for told in pieces))
    assert ["".join(told) for told in pieces] == [ECHO, ECHO]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("behaviour", "facts", "told", "error"),
    [
        ("ok", [Answered], ECHO, None),
        ("slow_stream", [Answered], ECHO, None),
        ("split_bytes", [Answered], ECHO, None),
        ("returns_only", [Answered], ECHO, None),
        ("returns_and_feeds", [Answered], ECHO, None),
        ("comments", [Answered], ECHO, None),
        ("lines_of_data", [Answered], ECHO, None),
        ("no_usage", [Answered], ECHO, None),
        ("no_done", [Answered], ECHO, None),
        ("no_last_line", [Answered], ECHO, None),
        ("finished_then_reset", [Answered], ECHO, None),
        ("whole_instead", [Answered], ECHO, None),
        ("null_content", [Answered], "", None),
        ("tool_calls", [Answered], "", None),
        # Nothing was told yet: tried again, and answered.
        ("error_first", [Failed, Answered], ECHO, "server_error"),
        ("silent_stream", [Failed, Answered], ECHO, "timeout"),
        ("hang", [Failed, Answered], ECHO, "timeout"),
        ("rate_limited", [Failed, Answered], ECHO, "rate_limited"),
        ("error_in_success", [Failed, Answered], ECHO, "rate_limited"),
        ("empty_body", [Failed, Answered], ECHO, "malformed_response"),
        ("unauthorized", [Failed, CallFailed], "", "authentication"),
        # Something was told: never tried again.
        ("cut_stream", [Failed, CallFailed], TWO_WORDS, "connection"),
        ("reset_stream", [Failed, CallFailed], TWO_WORDS, "connection"),
        ("early_end", [Failed, CallFailed], TWO_WORDS, "connection"),
        ("stalled_stream", [Failed, CallFailed], TWO_WORDS, "timeout"),
        ("error_chunk", [Failed, CallFailed], TWO_WORDS, "server_error"),
        ("malformed_chunk", [Failed, CallFailed], TWO_WORDS, "malformed_response"),
    ],
)
async def test_whatever_a_stream_does_is_told_and_recorded_for_what_it_is(
    asking: Asking, server: MisbehavingServer, behaviour: str, facts: list[type[Fact]], told: str, error: str | None
) -> None:
    server.behave(Behaviour(behaviour, delay_seconds=0.2))
    if facts[-1] is CallFailed:
        with pytest.raises(ProviderFailed):
            await asking.stream()
        if told:
            assert asking.text(version=2) == told
            assert asking.body("response", version=2).startswith(b"data: ")
    else:
        await asking.stream()
    assert asking.told == told
    assert kinds(asking) == facts
    assert len(server.requests) == facts.count(Failed) + facts.count(Answered)
    found = [fact.error.kind for fact in asking.store.facts(Failed) if isinstance(fact, Failed)]
    assert found == ([] if error is None else [error])


async def test_what_cannot_stream_has_no_first_token(asking: Asking, server: MisbehavingServer) -> None:
    server.behave("whole_instead")
    answer = await asking.stream()
    assert (answer.text, answer.first_token_ms, answer.tokens_per_second) == (ECHO, None, None)
    (answered,) = asking.store.facts(CallAnswered)
    assert isinstance(answered, CallAnswered)
    assert (answered.completion, answered.response.is_json) == (None, True)


async def test_tool_calls_are_put_together(asking: Asking, server: MisbehavingServer) -> None:
    server.behave("tool_calls")
    answer = await asking.stream()
    assert (answer.text, answer.finish_reason) == (None, "tool_calls")
    (choice,) = msgspec.json.decode(asking.body("completion"))["choices"]
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    ]


async def test_the_first_piece_comes_long_before_the_last(asking: Asking, server: MisbehavingServer) -> None:
    server.behave(Behaviour("slow_stream", delay_seconds=0.2))
    stream = StreamAnswer(asking.ask)(Question(prompt=PROMPT), CONTEXT)
    async with asyncio.timeout(10), stream:
        assert await anext(aiter(stream)) == "echo:"
        assert not stream.asking.done()
    assert kinds(asking) == [CallCancelled]


async def test_a_stream_that_is_slow_as_a_whole_is_not_too_slow(asking: Asking, server: MisbehavingServer) -> None:
    server.behave(Behaviour("slow_stream", delay_seconds=0.15))  # eight times: longer than the limit of 0.5 s
    assert (await asking.stream()).latency_ms > 800


async def test_all_of_a_stream_has_the_time_of_the_call(server: MisbehavingServer) -> None:
    asking = Asking(openai(server), call_timeout_seconds=0.8)
    server.behave(Behaviour("slow_stream", delay_seconds=0.3))
    with pytest.raises(ProviderFailed, match=r"had not ended when the call's 0\.8 s were over"):
        await asking.stream()
    assert kinds(asking) == [Failed, CallFailed]
    assert asking.told == asking.text(version=2)
    assert asking.told in ECHO[:-1]


async def test_whoever_leaves_cancels_the_call_and_what_came_is_recorded(
    asking: Asking, server: MisbehavingServer
) -> None:
    server.behave("stalled_stream")
    async with StreamAnswer(asking.ask)(Question(prompt=PROMPT), CONTEXT) as stream:
        async for piece in stream:
            asking.told += piece
            if asking.told == TWO_WORDS:
                break
    assert kinds(asking) == [CallCancelled]
    (left,) = asking.store.facts(CallCancelled)
    assert isinstance(left, CallCancelled)
    assert (left.attempts, asking.text()) == (1, TWO_WORDS)
    assert (left.first_token_ms or 0) > 0
    assert asking.body("response").count(b"data: ") == 2


async def test_the_connection_serves_again_after_a_stream(asking: Asking, server: MisbehavingServer) -> None:
    for _ in range(3):
        await asking.stream()
    assert len({request.headers["host"] for request in server.requests}) == 1
    assert server.connections == 1


async def test_the_local_provider_streams_words(server: MisbehavingServer) -> None:
    asking = Asking(LocalProvider())
    stream = StreamAnswer(asking.ask)(Question(prompt="Name three primes. Two, three and five are primes."), CONTEXT)
    pieces = [piece async for piece in stream]
    assert len(pieces) > 2
    assert "".join(pieces) == stream.answer.text == asking.text()
    assert stream.answer.tokens.completion == len(pieces)
    assert asking.body("response").endswith(b"data: [DONE]\n\n")
    assert server.requests == []


async def test_a_model_takes_no_parameter_stream(provider: Provider) -> None:
    with pytest.raises(Rejected, match="ask for a stream"):
        provider.prepare_chat(ChatRequest(model=None, messages=(), parameters={"stream": True}))


async def test_a_key_that_comes_back_in_a_stream_is_not_recorded(server: MisbehavingServer) -> None:
    key = "sk-planted-0123456789abcdef"
    asking = Asking(openai(server))
    stream = StreamAnswer(asking.ask)(Question(prompt=key), CONTEXT)
    server.behave("ok", "stalled_stream")
    assert [piece async for piece in stream]
    assert key.encode() not in asking.body("response") + asking.body("completion")
    async with StreamAnswer(asking.ask)(Question(prompt=f"{key} "), CONTEXT) as stream:
        await anext(aiter(stream))
        await asyncio.sleep(0.1)
    bodies = b"".join(payload.body or b"" for (_, version, _), payload in asking.store.payloads.items() if version > 1)
    assert b"[key]" in bodies
    assert key.encode() not in bodies


def _prepared(provider: Provider, *, stream: bool) -> PreparedRequest:
    messages = ({"role": "user", "content": PROMPT},)
    return provider.prepare_chat(ChatRequest(model=None, messages=messages, stream=stream))


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_are_the_same_however_their_bytes_are_cut(end: bytes) -> None:
    lines = [
        b"\xef\xbb\xbf: hello", b"event: one", "data: a – ö".encode(), b"data:b", b"id: 3", b"", b"", b"data", b"",
        b"data: [DONE]", b"",
    ]  # fmt: skip
    raw = end.join(lines) + end
    expected = [ServerEvent("one", "a – ö\nb".encode()), ServerEvent("", b"[DONE]")]
    chance = random.Random(1)
    for _ in range(200):
        cuts = sorted(chance.choices(range(len(raw)), k=chance.randint(0, 20)))
        events = ServerEvents()
        parts = [raw[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        found = [event for part in parts for event in events.feed(part)] + events.end()
        assert found == expected


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b'{"choices": [{"delta": {"content": "\xff"}}]}'])
def test_a_chunk_that_is_none_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        ChunkedChat().take(ServerEvent("", data))


@pytest.mark.parametrize(
    ("deltas", "text", "message"),
    [
        ([{"role": "assistant", "content": ""}, {"content": "a"}, {"content": None}], "a", {"content": "a"}),
        ([{"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab", {"content": "ab"}),
        ([{"content": ""}, {"refusal": "no"}, {"refusal": "!"}], "no!", {"content": None, "refusal": "no!"}),
        (
            [{"reasoning_content": "hm"}, {"reasoning_content": "m"}, {"content": "a"}],
            "a",
            {"content": "a", "reasoning_content": "hmm"},
        ),
        ([{"annotations": [1]}, "nonsense", {}], "", {"content": None, "annotations": [1]}),
    ],
)
def test_deltas_add_up_to_the_message(deltas: list[object], text: str, message: dict[str, object]) -> None:
    chat = ChunkedChat()
    told = ""
    for delta in deltas:
        told += chat.take(ServerEvent("", msgspec.json.encode({"choices": [{"index": 0, "delta": delta}]})))
    assert told == text
    made = msgspec.json.decode(chat.completion() or b"")["choices"][0]["message"]
    assert made == {"role": "assistant", **message}


def test_only_the_first_choice_is_told_and_all_are_kept() -> None:
    chat = ChunkedChat()
    for index, said in ((1, "no"), (0, "yes")):
        chunk = {"choices": [{"index": index, "delta": {"content": said}}]}
        assert chat.take(ServerEvent("", msgspec.json.encode(chunk))) == ("yes" if index == 0 else "")
    said = [choice["message"]["content"] for choice in msgspec.json.decode(chat.completion() or b"")["choices"]]
    assert said == ["yes", "no"]
