"""How the providers reach their servers: exact bytes, addresses taken apart, late connections, and nothing in logs."""

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest

from application.providers import AttemptFailed, ChatRequest, EmbeddingsRequest, Provider
from infrastructure.providers.azure import AzureOpenAI
from infrastructure.providers.failures import Redactor, refused
from infrastructure.providers.hyperbolic import Hyperbolic
from infrastructure.providers.openai_compatible import OpenAICompatible
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.providers.settings import ProviderSettings
from infrastructure.providers.wire_format import Malformed, read_answer
from infrastructure.settings import Settings
from interfaces.logs import CHATTY
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

KEY = "planted-key-0123456789abcdef"
PASSWORD = "planted-password"
ASKED = ChatRequest(
    model=None, messages=({"role": "user", "content": 'Grüße, 世界 🌍 "\\" \u2028'},), parameters={"temperature": 1e-7}
)
SLOW = Behaviour("slow", delay_seconds=30)
MISBEHAVIOURS: list[str | Behaviour] = ["ok", "unauthorized", "server_error", "malformed_json", "reset_mid_body", SLOW]


def openai(url: str) -> OpenAICompatible:
    return OpenAICompatible(api_key=KEY, base_url=url, chat_model="gpt-4o-mini", embedding_model="tiny")


def azure(url: str) -> AzureOpenAI:
    return AzureOpenAI(
        api_key=KEY,
        endpoint=url.removesuffix("/v1"),
        api_version="2024-10-21",
        chat_deployment="gpt-4o-mini-deploy",
        embedding_deployment="embed-deploy",
    )


def hyperbolic(url: str) -> Hyperbolic:
    return Hyperbolic(api_key=KEY, endpoint=url, chat_model="tiny")


each_provider = pytest.mark.parametrize("make", [openai, azure, hyperbolic], ids=lambda make: make.__name__)


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@each_provider
async def test_the_bytes_prepared_are_the_bytes_on_the_wire(
    make: Callable[[str], Provider], server: MisbehavingServer
) -> None:
    provider = make(server.url)
    prepared = provider.prepare_chat(ASKED)
    await provider.send(prepared, timeout_seconds=5)
    await provider.aclose()
    [request] = server.requests
    assert request.body == prepared.body
    assert request.headers["content-type"] == "application/json"


@each_provider
async def test_a_caller_who_leaves_is_let_go_and_the_next_one_is_served(
    make: Callable[[str], Provider], server: MisbehavingServer
) -> None:
    provider = make(server.url)
    server.behave(SLOW, "ok")
    prepared = provider.prepare_chat(ASKED)
    leaving = asyncio.create_task(provider.send(prepared, timeout_seconds=30))
    while not server.requests:
        await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (await provider.send(prepared, timeout_seconds=5)).text
    await provider.aclose()


@each_provider
async def test_no_connection_is_made_before_something_is_sent(make: Callable[[str], Provider]) -> None:
    provider = make("http://127.0.0.1:9/v1")
    provider.prepare_chat(ASKED)
    assert "client" not in vars(provider)
    await provider.aclose()
    assert "client" not in vars(provider)


@each_provider
async def test_no_key_or_password_is_logged_whatever_happens(
    make: Callable[[str], Provider], server: MisbehavingServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in CHATTY:  # a command that ran in this process has silenced them
        caplog.set_level(logging.DEBUG, logger=name)
    provider = make(server.url.replace("://", f"://someone:{PASSWORD}@"))
    server.behave(*MISBEHAVIOURS)
    seen = [repr(provider), provider.endpoint, repr(provider.prepare_chat(ASKED))]
    for behaviour in MISBEHAVIOURS:
        limit = 0.3 if behaviour is SLOW else 5.0
        try:
            seen.append(repr(await provider.send(provider.prepare_chat(ASKED), timeout_seconds=limit)))
        except AttemptFailed as failure:
            seen += [repr(failure), repr(failure.error), repr(failure.body)]
    await provider.aclose()
    assert len(server.requests) == len(MISBEHAVIOURS)
    assert len(caplog.records) >= len(MISBEHAVIOURS)
    told = caplog.text + " ".join(seen)
    assert KEY not in told
    assert PASSWORD not in told


async def test_a_login_in_the_address_is_sent_as_one(server: MisbehavingServer) -> None:
    provider = openai(server.url.replace("://", "://someone:p%40ss@"))
    await provider.send(provider.prepare_chat(ASKED), timeout_seconds=5)
    await provider.aclose()
    assert server.requests[0].headers["authorization"] == "Basic c29tZW9uZTpwQHNz"  # someone:p@ss


async def test_a_query_in_the_address_goes_with_every_request(server: MisbehavingServer) -> None:
    provider = openai(f"{server.url}/?tenant=blue")
    assert provider.endpoint == server.url
    await provider.send(provider.prepare_chat(ASKED), timeout_seconds=5)
    await provider.models()
    await provider.aclose()
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions?tenant=blue",
        "/v1/models?tenant=blue",
    ]


def test_a_host_may_be_called_openai() -> None:
    assert azure("http://openai/").endpoint == "http://openai"
    assert azure("http://openai/openai/v1/").endpoint == "http://openai"


async def asked_for_nowhere(provider: AzureOpenAI) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as failed:
        await provider.send(
            provider.prepare_chat(ChatRequest(model="nowhere", messages=ASKED.messages)), timeout_seconds=5
        )
    return failed.value


async def test_azure_names_the_deployment_that_it_misses_and_those_that_there_are(server: MisbehavingServer) -> None:
    provider = azure(server.root)
    server.behave("ok", "deployments")
    failures = [await asked_for_nowhere(provider) for _ in range(3)]
    await provider.aclose()
    for failure in failures:
        assert (failure.error.kind, failure.error.transient) == ("not_found", False)
        assert "DeploymentNotFound" in failure.error.message
        assert failure.error.message.endswith("Asked for 'nowhere'; there are embed-deploy, gpt-4o-mini-deploy")
    assert [request.method for request in server.requests] == ["POST", "GET", "POST", "POST"]


@pytest.mark.parametrize("listing", ["not_found", "unauthorized", "malformed_json", "reset_mid_body", "hang"])
async def test_a_missing_deployment_is_told_though_the_others_cannot_be_listed(
    server: MisbehavingServer, listing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.providers.azure.LOOK_SECONDS", 2.0)
    provider = azure(server.root)
    server.behave("ok", listing)
    failure = await asked_for_nowhere(provider)
    await provider.aclose()
    assert failure.error.message.endswith(
        "Asked for 'nowhere'; the resource does not list its deployments; the Azure portal does"
    )
    assert failure.latency_ms < 2000  # without the look, of which one lasts that long
    assert KEY not in failure.error.message


@pytest.mark.parametrize("location", ["http://[half", "", "https://user:secret@new.example/v1?key=secret"])
def test_a_redirect_is_refused_without_its_secrets(location: str) -> None:
    failed = refused(307, {"location": location}, b"", latency_ms=1, redact=Redactor(KEY))
    assert failed.error.kind == "bad_request"
    assert "moved" in failed.error.message
    assert "secret" not in failed.error.message


def test_vectors_are_not_guessed_where_several_lack_their_index() -> None:
    prepared = openai("http://nowhere.example").prepare_embeddings(EmbeddingsRequest(model=None, texts=("a", "b", "c")))
    mixed = b'{"data":[{"embedding":[1]},{"embedding":[2]},{"embedding":[3],"index":2}]}'
    zero_omitted = b'{"data":[{"embedding":[1]},{"embedding":[3],"index":2},{"embedding":[2],"index":1}]}'
    with pytest.raises(Malformed, match="several have none"):
        read_answer(prepared, mixed, status=200, headers={}, latency_ms=1)
    found = read_answer(prepared, zero_omitted, status=200, headers={}, latency_ms=1)
    assert found.vectors is not None
    assert found.vectors.tolist() == [[1], [2], [3]]


def test_a_provider_of_ones_own_may_stand_in_for_a_known_one() -> None:
    mine = openai("http://nowhere.example")
    assert ProviderRegistry(ProviderSettings, {"OpenAI": mine}).create(None) is mine


@pytest.mark.parametrize("name", ["azure_openai_deployment", "azure_deployment"])
def test_a_setting_can_be_given_by_either_name_and_survives_a_round_trip(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert Settings(**{name: "mine"}).azure_openai_deployment == "mine"
    monkeypatch.setenv(name.upper(), "from-outside")
    settings = Settings()
    assert settings.azure_openai_deployment == "from-outside"
    assert Settings(**settings.model_dump(exclude_unset=True)).azure_openai_deployment == "from-outside"
    assert Settings(azure_openai_deployment="flag").azure_openai_deployment == "flag"
