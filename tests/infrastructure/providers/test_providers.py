"""One contract that every provider passes, over real HTTP, and a table of misbehaviours with what they mean."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from pydantic import ValidationError

from application.providers import AttemptFailed, ChatRequest, EmbeddingsRequest, PreparedRequest, Provider
from domain.errors import Rejected
from infrastructure.providers import attempt
from infrastructure.providers.azure import AzureOpenAI
from infrastructure.providers.failures import Redactor, refused
from infrastructure.providers.hyperbolic import Hyperbolic
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.openai_compatible import OpenAICompatible
from infrastructure.providers.registry import MAKERS, ProviderRegistry
from infrastructure.providers.settings import ProviderSettings
from infrastructure.settings import Settings
from tests.support.misbehaving_server import Behaviour, MisbehavingServer, vector_of

KEY = "sk-planted-0123456789abcdef"
TEXTS = ("one", "two", "three", "four", "five")
ASKED = ChatRequest(model=None, messages=({"role": "user", "content": "Three primes?"},))


def openai(server: MisbehavingServer) -> Provider:
    return OpenAICompatible(api_key=KEY, base_url=server.url, chat_model="gpt-4o-mini", embedding_model="tiny")


def azure(server: MisbehavingServer) -> Provider:
    return AzureOpenAI(
        api_key=KEY,
        endpoint=server.root,
        api_version="2024-10-21",
        chat_deployment="gpt-4o-mini-deploy",
        embedding_deployment="embed-deploy",
    )


def hyperbolic(server: MisbehavingServer) -> Provider:
    return Hyperbolic(api_key=KEY, endpoint=server.root, chat_model="tiny")


def local(_server: MisbehavingServer) -> Provider:
    return LocalProvider()


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


@pytest.fixture(params=[openai, azure, hyperbolic, local], ids=lambda make: make.__name__)
async def provider(request: pytest.FixtureRequest, server: MisbehavingServer) -> AsyncIterator[Provider]:
    make: Callable[[MisbehavingServer], Provider] = request.param
    made = make(server)
    yield made
    await made.aclose()


@pytest.fixture
async def over_http(server: MisbehavingServer) -> AsyncIterator[Provider]:
    made = openai(server)
    yield made
    await made.aclose()


async def test_a_chat_is_sent_as_prepared_and_its_text_found(provider: Provider, server: MisbehavingServer) -> None:
    prepared = provider.prepare_chat(ASKED)
    answer = await provider.send(prepared, timeout_seconds=5)
    assert answer.text
    assert answer.text_path is not None
    found = msgspec.json.decode(answer.body)
    for step in answer.text_path:
        found = found[int(step)] if step.isdecimal() else found[step]
    assert found == answer.text
    assert answer.latency_ms > 0
    assert [request.body for request in server.requests] == ([] if provider.name == "local" else [prepared.body])
    assert prepared.body.startswith(b'{"model":"')
    assert "temperature" not in msgspec.json.decode(prepared.body)


async def test_what_was_prepared_holds_no_secret(provider: Provider) -> None:
    assert KEY not in repr(provider.prepare_chat(ASKED)) + repr(provider) + repr(vars(provider).keys())


async def test_models_are_listed_in_order(provider: Provider) -> None:
    models = await provider.models()
    assert models
    assert models == sorted(models)


async def test_every_text_gets_its_own_vector(provider: Provider, server: MisbehavingServer) -> None:
    if provider.name == "hyperbolic":
        with pytest.raises(Rejected, match="no embeddings"):
            provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=TEXTS))
        return
    server.behave_always("shuffled_vectors")
    prepared = provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=TEXTS))
    answer = await provider.send(prepared, timeout_seconds=5)
    alone = [provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=(text,))) for text in TEXTS]
    assert answer.vectors is not None
    assert answer.vectors.dtype == np.float32
    for row, one in zip(answer.vectors, alone, strict=True):
        single = await provider.send(one, timeout_seconds=5)
        assert single.vectors is not None
        assert np.array_equal(single.vectors[0], row)


@pytest.mark.parametrize("behaviour", ["shuffled_vectors", "float_list", "ok"])
async def test_vectors_come_back_bit_for_bit(over_http: Provider, server: MisbehavingServer, behaviour: str) -> None:
    server.behave_always(behaviour)
    prepared = over_http.prepare_embeddings(EmbeddingsRequest(model=None, texts=TEXTS, dimensions=16))
    answer = await over_http.send(prepared, timeout_seconds=5)
    assert answer.vectors is not None
    assert np.array_equal(answer.vectors, np.stack([vector_of(text, 16) for text in TEXTS]))


@pytest.mark.parametrize("behaviour", ["wrong_count", "repeated_index", "nan_vector", "wrong_dimension"])
async def test_a_wrong_vector_is_an_error(over_http: Provider, server: MisbehavingServer, behaviour: str) -> None:
    server.behave_always(behaviour)
    prepared = over_http.prepare_embeddings(EmbeddingsRequest(model=None, texts=TEXTS))
    with pytest.raises(AttemptFailed) as failed:
        await over_http.send(prepared, timeout_seconds=5)
    assert failed.value.error.kind == "malformed_response"
    assert failed.value.body


@pytest.mark.parametrize(
    ("behaviour", "kind", "transient"),
    [
        ("rate_limited", "rate_limited", True),
        ("insufficient_quota", "rate_limited", False),
        ("server_error", "server_error", True),
        ("bad_gateway", "server_error", True),
        ("bad_request", "bad_request", False),
        ("unauthorized", "authentication", False),
        ("forbidden", "permission", False),
        ("not_found", "not_found", False),
        ("request_timeout", "timeout", True),
        ("conflict", "conflict", True),
        ("unprocessable", "unprocessable", False),
        ("content_filter", "content_filter", False),
        ("hang", "timeout", True),
        ("reset_mid_body", "connection", True),
        ("truncated", "connection", True),
        ("malformed_json", "malformed_response", True),
        ("empty_body", "malformed_response", True),
        ("moved", "bad_request", False),
        ("error_in_success", "rate_limited", True),
    ],
)
@pytest.mark.parametrize("make", [openai, azure, hyperbolic], ids=lambda make: make.__name__)
async def test_a_misbehaviour_is_named_for_what_it_is(
    make: Callable[[MisbehavingServer], Provider],
    server: MisbehavingServer,
    behaviour: str,
    kind: str,
    transient: bool,
) -> None:
    provider = make(server)
    server.behave(behaviour)
    with pytest.raises(AttemptFailed) as failed:
        await provider.send(provider.prepare_chat(ASKED), timeout_seconds=2 if behaviour == "hang" else 10)
    await provider.aclose()
    error = failed.value.error
    assert (error.kind, error.transient) == (kind, transient)
    assert len(server.requests) == 1
    assert KEY not in repr(error) + str(failed.value) + repr(failed.value.body)
    assert "secret" not in error.message


@pytest.mark.parametrize("behaviour", ["no_usage", "null_content", "extra_fields"])
async def test_unusual_answers_are_answers(over_http: Provider, server: MisbehavingServer, behaviour: str) -> None:
    server.behave(behaviour)
    answer = await over_http.send(over_http.prepare_chat(ASKED), timeout_seconds=5)
    assert answer.text == (None if behaviour == "null_content" else "echo: Three primes?")
    assert (answer.tokens.total is None) == (behaviour == "no_usage")
    assert set(answer.headers) == {"x-request-id", "x-ratelimit-remaining-requests"}


@pytest.mark.parametrize("as_date", [False, True])
async def test_retry_after_is_read_as_seconds_or_date(
    over_http: Provider, server: MisbehavingServer, as_date: bool
) -> None:
    server.behave(Behaviour("rate_limited", retry_after=30, as_date=as_date))
    with pytest.raises(AttemptFailed) as failed:
        await over_http.send(over_http.prepare_chat(ASKED), timeout_seconds=5)
    assert failed.value.error.retry_after_seconds == pytest.approx(30, abs=2)


def test_a_retry_after_that_is_neither_is_ignored() -> None:
    failed = refused(
        429, {"retry-after": "soon"}, b"{}", latency_ms=1, redact=Redactor(None), now=lambda: datetime.now(UTC)
    )
    assert failed.error.retry_after_seconds is None


async def test_azures_missing_deployment_is_named(server: MisbehavingServer) -> None:
    provider = azure(server)
    asked = ChatRequest(model="nowhere", messages=ASKED.messages)
    with pytest.raises(AttemptFailed, match="DeploymentNotFound"):
        await provider.send(provider.prepare_chat(asked), timeout_seconds=5)
    await provider.aclose()


async def test_a_server_of_ones_own_needs_no_key(server: MisbehavingServer) -> None:
    provider = OpenAICompatible(
        api_key=None, base_url=server.url.replace("://", "://user:secret@"), chat_model="m", embedding_model=None
    )
    assert (await provider.send(provider.prepare_chat(ASKED), timeout_seconds=5)).text == "echo: Three primes?"
    assert provider.endpoint == server.url
    with pytest.raises(Rejected, match="OPENAI_EMBEDDING_MODEL"):
        provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=("a",)))
    await provider.aclose()


@pytest.mark.parametrize("shown", ["", "/", "/openai", "/openai/v1/", "/openai/deployments/d?api-version=1"])
async def test_azures_address_is_taken_as_the_portal_shows_it(server: MisbehavingServer, shown: str) -> None:
    provider = AzureOpenAI(
        api_key=KEY,
        endpoint=f"{server.root}{shown}",
        api_version="2024-10-21",
        chat_deployment="gpt-4o-mini-deploy",
        embedding_deployment=None,
    )
    await provider.send(provider.prepare_chat(ASKED), timeout_seconds=5)
    assert server.requests[0].path == ("/openai/deployments/gpt-4o-mini-deploy/chat/completions?api-version=2024-10-21")
    assert await provider.models() == ["gpt-4o-mini-deploy"]
    await provider.aclose()


async def test_a_deployments_name_cannot_leave_its_path(server: MisbehavingServer) -> None:
    provider = azure(server)
    asked = ChatRequest(model="../models?x=", messages=ASKED.messages)
    with pytest.raises(AttemptFailed, match="DeploymentNotFound"):
        await provider.send(provider.prepare_chat(asked), timeout_seconds=5)
    assert server.requests[0].path.startswith("/openai/deployments/..%2Fmodels%3Fx%3D/chat/completions?")
    await provider.aclose()


async def test_a_large_answer_is_read_beside_the_loop(over_http: Provider) -> None:
    texts = tuple(f"text {number}" for number in range(200))
    prepared = over_http.prepare_embeddings(EmbeddingsRequest(model=None, texts=texts, dimensions=1024))
    answer = await over_http.send(prepared, timeout_seconds=10)
    assert len(answer.body) > 500_000
    assert answer.vectors is not None
    assert np.array_equal(answer.vectors[-1], vector_of(texts[-1], 1024))


@pytest.mark.parametrize("make", [openai, azure, hyperbolic], ids=lambda make: make.__name__)
@pytest.mark.parametrize("behaviour", ["malformed_json", "unauthorized", "hang"])
async def test_a_list_of_models_that_fails_says_why(
    make: Callable[[MisbehavingServer], Provider],
    server: MisbehavingServer,
    behaviour: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if behaviour == "hang":
        monkeypatch.setattr(attempt, "MODELS_TIMEOUT_SECONDS", 0.3)
    provider = make(server)
    server.behave(behaviour)
    with pytest.raises(AttemptFailed) as failed:
        await provider.models()
    kinds = {"malformed_json": "malformed_response", "unauthorized": "authentication", "hang": "timeout"}
    assert failed.value.error.kind == kinds[behaviour]
    assert KEY not in str(failed.value)
    await provider.aclose()


async def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    provider = OpenAICompatible(api_key=KEY, base_url="http://127.0.0.1:9/v1", chat_model="m", embedding_model=None)
    with pytest.raises(AttemptFailed) as failed:
        await provider.send(provider.prepare_chat(ASKED), timeout_seconds=5)
    assert (failed.value.error.kind, failed.value.error.transient) == ("connection", True)
    assert "to 127.0.0.1:9 failed" in str(failed.value)
    await provider.aclose()


def test_keys_and_addresses_that_cannot_work_are_refused_without_showing_them() -> None:
    for key, url, setting in (
        ("sk-“quoted”", "http://a.example", "OPENAI_API_KEY"),
        ("two words", "http://a.example", "OPENAI_API_KEY"),
        (KEY, "a.example:8000/v1", "OPENAI_BASE_URL"),
        (KEY, "https:///v1", "OPENAI_BASE_URL"),
        (KEY, "http://a:port/", "OPENAI_BASE_URL"),
    ):
        with pytest.raises(Rejected, match=setting) as rejected:
            OpenAICompatible(api_key=key, base_url=url, chat_model="m", embedding_model=None)
        assert key not in str(rejected.value)
        assert url not in str(rejected.value)


class TestRegistry:
    async def test_what_it_lists_it_can_make(self) -> None:
        settings = ProviderSettings(
            azure_openai_api_key=KEY,
            azure_openai_endpoint="https://a.example",
            openai_api_key=KEY,
            hyperbolic_api_key=KEY,
        )
        registry = ProviderRegistry(lambda: settings)
        assert registry.configured() == ["azure", "openai", "hyperbolic", "local"]
        for name in registry.configured():
            assert registry.create(name.upper()).name == name
        assert registry.create(None).name == "azure"
        await registry.aclose()

    def test_without_settings_there_is_the_local_one(self) -> None:
        registry = ProviderRegistry(ProviderSettings)
        assert registry.configured() == ["local"]
        assert registry.create(None).name == "local"

    def test_an_unknown_name_is_answered_with_the_known_ones(self) -> None:
        with pytest.raises(Rejected, match="azure, openai, hyperbolic, local"):
            ProviderRegistry(ProviderSettings).create("gemini")

    def test_what_it_does_not_list_it_cannot_make(self) -> None:
        registry = ProviderRegistry(
            lambda: ProviderSettings(
                azure_openai_api_key=KEY, azure_openai_endpoint="no address", hyperbolic_api_key="no key"
            )
        )
        assert registry.configured() == ["local"]
        for name in ("azure", "openai", "hyperbolic"):
            with pytest.raises(Rejected, match=name.upper()):
                registry.create(name)

    def test_the_default_may_be_set(self) -> None:
        registry = ProviderRegistry(lambda: ProviderSettings(study_default_provider="Local", openai_api_key=KEY))
        assert registry.create(None).name == "local"
        registry = ProviderRegistry(lambda: ProviderSettings(study_default_provider="gemini"))
        with pytest.raises(Rejected) as rejected:
            registry.create(None)
        assert rejected.value.fields == ("STUDY_DEFAULT_PROVIDER",)

    async def test_another_providers_settings_do_not_cost_connections(self) -> None:
        current = ProviderSettings(openai_api_key=KEY)
        registry = ProviderRegistry(lambda: current)
        first = registry.create("openai")
        current = ProviderSettings(openai_api_key=KEY, hyperbolic_api_key=KEY)
        assert registry.create("openai") is first
        await registry.aclose()

    def test_a_missing_setting_is_named(self) -> None:
        with pytest.raises(Rejected, match="AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT"):
            ProviderRegistry(ProviderSettings).create("azure")

    async def test_settings_are_read_afresh(self) -> None:
        current = ProviderSettings(openai_api_key=KEY)
        registry = ProviderRegistry(lambda: current)
        first = registry.create("openai")
        assert registry.create("openai") is first
        current = ProviderSettings(openai_api_key=KEY, openai_model="other")
        assert registry.create("openai").prepare_chat(ASKED).model == "other"
        await registry.aclose()

    def test_a_provider_of_ones_own_is_found(self) -> None:
        registry = ProviderRegistry(ProviderSettings, {"Mine": LocalProvider()})
        assert "mine" in registry.configured()
        assert isinstance(registry.create("MINE").prepare_chat(ASKED), PreparedRequest)

    def test_settings_come_from_the_environment_old_names_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AZURE_API_KEY", KEY)
        monkeypatch.setenv("AZURE_ENDPOINT", "https://old.example")
        monkeypatch.setenv("OPENAI_BASE_URL", "")
        settings = Settings()
        assert settings.azure_openai_endpoint == "https://old.example"
        monkeypatch.setenv("OPENAI_MODEL", " ")
        monkeypatch.setenv("HYPERBOLIC_ENDPOINT", "")
        settings = Settings()
        assert settings.openai_base_url is None
        assert settings.openai_model == "gpt-4o-mini"
        assert settings.hyperbolic_endpoint == "https://api.hyperbolic.xyz/v1"
        assert KEY not in repr(settings)

    async def test_no_more_calls_have_a_place_than_the_settings_allow(self) -> None:
        current = ProviderSettings(study_provider_concurrency="OpenAI = 2, azure=7,5")
        registry = ProviderRegistry(lambda: current)
        for provider, limit in (("openai", 2), ("azure", 7), ("hyperbolic", 5)):
            most = await most_at_once(registry, provider)
            assert most == limit
        current = ProviderSettings(study_provider_concurrency="openai=3")
        registry.create("local")
        assert [await most_at_once(registry, name) for name in ("openai", "local")] == [3, 20]

    @pytest.mark.parametrize("limits", ["openai", "openai=0", "openai=1001", "openai=-1", "=3", "a=b"])
    def test_a_limit_that_is_none_is_refused(self, limits: str) -> None:
        with pytest.raises(ValidationError, match="openai=50,azure=20"):
            ProviderSettings(study_provider_concurrency=limits)

    async def test_one_that_fails_to_close_keeps_no_other_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[str] = []

        class Stuck(LocalProvider):
            async def aclose(self) -> None:
                raise OSError("stuck")

        class Closing(LocalProvider):
            async def aclose(self) -> None:
                closed.append("local")

        monkeypatch.setitem(MAKERS, "hyperbolic", lambda _settings: Stuck())
        monkeypatch.setitem(MAKERS, "local", lambda _settings: Closing())
        registry = ProviderRegistry(lambda: ProviderSettings(hyperbolic_api_key=KEY))
        registry.create("hyperbolic")
        registry.create("local")
        await registry.aclose()
        assert closed == ["local"]


async def most_at_once(registry: ProviderRegistry, provider: str) -> int:
    """How many of 20 calls had a place at the same time."""
    inside = most = 0

    async def call() -> None:
        nonlocal inside, most
        async with registry.place(provider):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    return most
