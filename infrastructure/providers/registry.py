"""Which providers there are, and which can be asked with the settings as they are."""

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import structlog
from pydantic import SecretStr

from application.providers import ClientsRequest, Passage, Provider
from domain.errors import Rejected
from infrastructure.providers import plug_ins
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.settings import ProviderSettings
from infrastructure.providers.shaped_passage import ShapedPassage

PREFERENCE = ("azure", "openai", "hyperbolic", "local")
Make = Callable[[ProviderSettings], Provider]

log = structlog.get_logger(__name__)


class _Made(NamedTuple):
    """A provider, and what it was made of: all settings, and those that concern it."""

    settings: ProviderSettings
    concerned: Mapping[str, object]
    provider: Provider


class ProviderRegistry:
    """Makes providers from settings, which are read afresh each time; what it lists it can make."""

    def __init__(
        self, read_settings: Callable[[], ProviderSettings], extra: Mapping[str, Provider] | None = None
    ) -> None:
        self._read_settings = read_settings
        self._settings: ProviderSettings | None = None  # as they were when last read
        self._extra = {name.lower(): provider for name, provider in (extra or {}).items()}
        self._made: dict[str, _Made] = {}
        self._outdated: list[Provider] = []
        self._plug_ins = plug_ins.installed()
        self._places: dict[str, tuple[int, asyncio.Semaphore]] = {}

    def known(self) -> list[str]:
        """Every name there is, configured or not: ours, then those of the caller, then those of plug-ins."""
        return list(dict.fromkeys((*PREFERENCE, *self._extra, *sorted(self._plug_ins))))

    def configured(self) -> list[str]:
        """The names that can be asked, the preferred ones first."""
        return [name for name in self.known() if self._refusal(name) is None]

    def broken(self) -> dict[str, str]:
        """The plug-ins that can't be asked, and why; one that only lacks a setting isn't broken."""
        found: dict[str, str] = {}
        for name in sorted(self._plug_ins):
            if name in MAKERS:
                found[name] = f"A plug-in can't be called {name!r}, since a provider of ours is; ours is asked"
            elif isinstance(refusal := self._refusal(name), plug_ins.BrokenPlugIn):
                found[name] = str(refusal)
        return found

    def create(self, name: str | None) -> Provider:
        """The named provider, or the default one. Raises Rejected naming the known ones or the missing settings.

        The same object is handed out for as long as its settings are the same, so that connections are kept.
        """
        settings = self._settings = self._read_settings()
        wanted = (name or settings.study_default_provider or self._first(settings)).strip().lower()
        if wanted in self._extra:
            return self._extra[wanted]
        made = self._made.get(wanted)
        if made is not None and made.settings is settings and wanted in MAKERS:  # a plug-in's are its own
            return made.provider
        if wanted not in MAKERS and wanted not in self._plug_ins:
            raise Rejected(
                f"There is no provider {wanted[:40]!r}; there are {', '.join(self.known())}",
                fields=("provider",) if name else ("STUDY_DEFAULT_PROVIDER",),
            )
        missing = _missing(wanted, settings)
        if missing:
            raise Rejected(f"{wanted} is not configured: set {' and '.join(missing)}", fields=missing)
        concerned = self._concerned(wanted, settings)
        if made is None or made.concerned != concerned:
            if made is not None:
                self._outdated.append(made.provider)  # calls may still be under way on its connections
            made = _Made(settings, concerned, self._make(wanted, settings))
        self._made[wanted] = made._replace(settings=settings)
        return made.provider

    def _concerned(self, name: str, settings: ProviderSettings) -> Mapping[str, object]:
        """The settings that concern a provider: their names begin with its own."""
        if name not in MAKERS:
            return plug_ins.settings_of(name)
        return {
            field: getattr(settings, field) for field in ProviderSettings.model_fields if field.startswith(f"{name}_")
        }

    def _make(self, name: str, settings: ProviderSettings) -> Provider:
        if name in MAKERS:
            return MAKERS[name](settings)
        return plug_ins.make(name, self._plug_ins[name], plug_ins.settings_of(name))

    def passage(self, provider: Provider, request: ClientsRequest) -> Passage:
        """A way for a client's request; see the port."""
        pass_on = getattr(provider, "pass_on", None)
        passage: Passage = ShapedPassage(provider, request) if pass_on is None else pass_on(request)
        return passage

    def place(self, name: str) -> asyncio.Semaphore:
        """Where a call of a provider waits until fewer are under way than the settings allow."""
        if self._settings is None:
            self._settings = self._read_settings()
        limit = self._settings.calls_at_a_time(name.lower())
        if name not in self._places or self._places[name][0] != limit:
            self._places[name] = limit, asyncio.Semaphore(limit)
        return self._places[name][1]

    async def aclose(self) -> None:
        """Close every connection of the providers made here."""
        closing = [*self._outdated, *(made.provider for made in self._made.values())]
        self._outdated.clear()
        self._made.clear()
        # One that fails to close keeps none of the others open.
        for failure in await asyncio.gather(*(each.aclose() for each in closing), return_exceptions=True):
            if isinstance(failure, Exception):
                log.warning("a provider did not close", error=type(failure).__name__)

    def _first(self, settings: ProviderSettings) -> str:
        return next(name for name in PREFERENCE if name in self._extra or not _missing(name, settings))

    def _refusal(self, name: str) -> Rejected | None:
        try:
            self.create(name)
        except Rejected as refusal:
            return refusal
        return None


def _missing(name: str, settings: ProviderSettings) -> tuple[str, ...]:
    """The settings without which a provider can't be asked. An endpoint of one's own may want no key."""
    match name:
        case "azure":
            needed = {
                "AZURE_OPENAI_API_KEY": settings.azure_openai_api_key,
                "AZURE_OPENAI_ENDPOINT": settings.azure_openai_endpoint,
            }
        case "openai":
            needed = {"OPENAI_API_KEY": settings.openai_api_key or settings.openai_base_url}
        case "hyperbolic":
            needed = {"HYPERBOLIC_API_KEY": settings.hyperbolic_api_key}
        case _:
            needed = {}
    return tuple(setting for setting, value in needed.items() if not value)


def _azure(settings: ProviderSettings) -> Provider:
    from infrastructure.providers.azure import AzureOpenAI

    return AzureOpenAI(
        api_key=_plain(settings.azure_openai_api_key) or "",
        endpoint=settings.azure_openai_endpoint or "",
        api_version=settings.azure_openai_api_version,
        chat_deployment=settings.azure_openai_deployment,
        embedding_deployment=settings.azure_openai_embedding_deployment,
    )


def _openai(settings: ProviderSettings) -> Provider:
    from infrastructure.providers.openai_compatible import OpenAICompatible

    return OpenAICompatible(
        api_key=_plain(settings.openai_api_key),
        base_url=settings.openai_base_url,
        chat_model=settings.openai_model,
        embedding_model=settings.openai_embedding_model,
    )


def _hyperbolic(settings: ProviderSettings) -> Provider:
    from infrastructure.providers.hyperbolic import Hyperbolic

    return Hyperbolic(
        api_key=_plain(settings.hyperbolic_api_key) or "",
        endpoint=settings.hyperbolic_endpoint,
        chat_model=settings.hyperbolic_model,
    )


def _local(_settings: ProviderSettings) -> Provider:
    return LocalProvider()


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


MAKERS: dict[str, Make] = {"azure": _azure, "openai": _openai, "hyperbolic": _hyperbolic, "local": _local}
