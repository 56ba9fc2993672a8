"""Which providers there are, and which can be asked with the settings as they are."""

from collections.abc import Callable, Mapping

from pydantic import SecretStr

from application.providers import Provider
from domain.errors import Rejected
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.settings import ProviderSettings

PREFERENCE = ("azure", "openai", "hyperbolic", "local")
Made = Callable[[ProviderSettings], Provider]


class ProviderRegistry:
    """Makes providers from settings, which are read afresh each time; what it lists it can make."""

    def __init__(
        self, read_settings: Callable[[], ProviderSettings], extra: Mapping[str, Provider] | None = None
    ) -> None:
        self._read_settings = read_settings
        self._extra = {name.lower(): provider for name, provider in (extra or {}).items()}
        self._made: dict[str, tuple[dict[str, object], Provider]] = {}
        self._outdated: list[Provider] = []

    def known(self) -> list[str]:
        """Every name there is, configured or not."""
        return [*PREFERENCE, *(name for name in self._extra if name not in PREFERENCE)]

    def configured(self) -> list[str]:
        """The names that can be asked, the preferred ones first."""
        return [name for name in self.known() if self._can_make(name)]

    def create(self, name: str | None) -> Provider:
        """The named provider, or the default one. Raises Rejected naming the known ones or the missing settings.

        The same object is handed out for as long as its settings are the same, so that connections are kept.
        """
        settings = self._read_settings()
        wanted = (name or settings.study_default_provider or self._first(settings)).strip().lower()
        if wanted in self._extra:
            return self._extra[wanted]
        if wanted not in MAKERS:
            raise Rejected(
                f"There is no provider {wanted[:40]!r}; there are {', '.join(self.known())}",
                fields=("provider",) if name else ("STUDY_DEFAULT_PROVIDER",),
            )
        missing = _missing(wanted, settings)
        if missing:
            raise Rejected(f"{wanted} is not configured: set {' and '.join(missing)}", fields=missing)
        concerned = _of_provider(wanted, settings)
        made = self._made.get(wanted)
        if made is None or made[0] != concerned:
            if made is not None:
                self._outdated.append(made[1])  # calls may still be under way on its connections
            made = concerned, MAKERS[wanted](settings)
            self._made[wanted] = made
        return made[1]

    async def aclose(self) -> None:
        """Close every connection of the providers made here."""
        closing = [*self._outdated, *(provider for _, provider in self._made.values())]
        self._outdated.clear()
        self._made.clear()
        for provider in closing:
            await provider.aclose()

    def _first(self, settings: ProviderSettings) -> str:
        return next(name for name in PREFERENCE if name in self._extra or not _missing(name, settings))

    def _can_make(self, name: str) -> bool:
        try:
            self.create(name)
        except Rejected:
            return False
        return True


def _of_provider(name: str, settings: ProviderSettings) -> dict[str, object]:
    """The settings that concern a provider: their names begin with its own."""
    return {field: getattr(settings, field) for field in ProviderSettings.model_fields if field.startswith(f"{name}_")}


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


MAKERS: dict[str, Made] = {"azure": _azure, "openai": _openai, "hyperbolic": _hyperbolic, "local": _local}
