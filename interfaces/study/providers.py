"""The providers that can be asked."""

from infrastructure.providers.registry import ProviderRegistry


class Providers:
    """What is configured, and what each of them offers."""

    def __init__(self, registry: ProviderRegistry) -> None:
        self._registry = registry

    def configured(self) -> list[str]:
        """The providers that can be asked with the settings as they are."""
        return self._registry.configured()

    async def models(self, provider: str) -> list[str]:
        """The models or deployments a provider offers."""
        return await self._registry.create(provider).models()
