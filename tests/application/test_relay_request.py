"""A client's request as a call: what is stored before and after, over a list store and a provider of its own words."""

import random
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from application.call_provider import AttemptPolicy, CallProvider
from application.group_calls import GroupCalls
from application.relay_request import Begun, RelayRequest, RequestToRelay
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from domain.calls import CallAnswered, CallAttemptFailed, CallFailed, CallRequested
from domain.errors import ProviderFailed, Rejected, Unavailable
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.providers.settings import ProviderSettings
from tests.support.given_when_then import CONTEXT, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import ScriptedProvider, failure

ASKED = {"model": "scripted/m", "messages": [{"role": "user", "content": "?"}], "temperature": 0}


class Relaying:
    """The use case over a list store; `scripted` is its provider."""

    def __init__(self, *script: Any, attempts: int = 1) -> None:
        self.store = ListStore()
        self.provider = ScriptedProvider(script)
        book = notebook(self.store, SteppingClock())
        registry = ProviderRegistry(ProviderSettings, {"scripted": self.provider})
        call = CallProvider(book, chance=random.Random(0), places=lambda _provider: nullcontext())
        self.relay = RelayRequest(
            call,
            ShareCalls(book, call),
            ReuseAnswers(book, self.store),
            registry,
            GroupCalls(book),
            self.store,
            book.ids,
            lambda: AttemptPolicy(attempts=attempts),
        )


def asked(**more: Any) -> RequestToRelay:
    return RequestToRelay(operation="chat", body=msgspec.json.encode({**ASKED, **more}))


async def test_a_request_that_cannot_be_stored_is_never_sent() -> None:
    relaying = Relaying()
    relaying.store.unavailable = True
    with pytest.raises(Unavailable):
        await relaying.relay(asked(), CONTEXT)
    assert relaying.provider.sent == []


async def test_a_reply_comes_with_where_it_is_stored() -> None:
    relaying = Relaying()
    relayed = await relaying.relay(asked(), CONTEXT)
    assert [type(fact) for fact in relaying.store.facts()] == [CallRequested, CallAnswered]
    assert (relayed.position, relayed.reply.status) == (2, 200)
    assert msgspec.json.decode(relayed.reply.body)["choices"][0]["message"]["content"] == "echo: ?"


async def test_the_end_of_a_stream_is_told_by_nobody_before_it_is_stored() -> None:
    relaying = Relaying()
    told: list[tuple[bool, int]] = []

    def tell(piece: Begun | bytes) -> None:
        told.append((isinstance(piece, Begun), len(relaying.store.facts())))

    relayed = await relaying.relay(asked(stream=True), CONTEXT, tell)
    assert told[0] == (True, 1)
    assert {stored for _, stored in told} == {1}
    assert relayed.reply.body.endswith(b"data: [DONE]\n\n")
    assert (relayed.position, len(relaying.store.facts())) == (2, 2)


async def test_a_failure_without_a_reply_is_raised_with_where_it_is_stored() -> None:
    relaying = Relaying(failure("rate_limited", transient=False))
    with pytest.raises(ProviderFailed) as failed:
        await relaying.relay(asked(), CONTEXT)
    kinds = [type(fact) for fact in relaying.store.facts()]
    assert (kinds, failed.value.position) == ([CallRequested, CallAttemptFailed, CallFailed], 3)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("scripted/m", ("scripted", "m")),
        ("Scripted/a/b", ("scripted", "a/b")),
        ("m", (None, "m")),
        ("meta-llama/m", (None, "meta-llama/m")),
        ("scripted/", (None, "scripted/")),
        ("/m", (None, "/m")),
    ],
)
def test_only_what_is_a_providers_name_is_taken_for_one(model: str, expected: tuple[str | None, str]) -> None:
    assert Relaying().relay.route(model) == expected


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": ""}', b'{"model": 7}', b'{"model": "a\\u0000"}'])
async def test_what_is_no_request_is_rejected_and_not_recorded(body: bytes) -> None:
    relaying = Relaying()
    with pytest.raises(Rejected):
        await relaying.relay(RequestToRelay(operation="chat", body=body), CONTEXT)
    assert relaying.store.facts() == []
