"""The providers that can be asked."""

from collections.abc import Sequence

from application.notebook import Context
from application.validate_deployments import Validated, ValidateDeployments
from domain.deployments import ProbedOperation
from infrastructure.providers.registry import ProviderRegistry


class Providers:
    """What is configured, what each of them offers, and whether that is there."""

    def __init__(self, registry: ProviderRegistry, validate: ValidateDeployments) -> None:
        self._registry = registry
        self._validate = validate

    def configured(self) -> list[str]:
        """The providers that can be asked with the settings as they are."""
        return self._registry.configured()

    async def models(self, provider: str) -> list[str]:
        """The models or deployments a provider offers."""
        return await self._registry.create(provider).models()

    async def validate(
        self,
        provider: str | None,
        models: Sequence[str],
        context: Context,
        *,
        operation: ProbedOperation = "embeddings",
        again: bool = False,
    ) -> list[Validated]:
        """Which of these deployments there are: asked once, then remembered. Raises Rejected, Unavailable."""
        return await self._validate(provider, models, context, operation=operation, again=again)

    async def validate_defaults(self, provider: str, context: Context, *, again: bool = False) -> list[Validated]:
        """The same for what is asked when no model is named: in chats and for embeddings, as far as there are any."""
        return await self._validate.defaults(provider, context, again=again)

    async def valid(self, provider: str | None, models: Sequence[str], context: Context) -> list[str]:
        """These deployments but for those that the provider says it has not; those are logged once."""
        found = await self._validate(provider, models, context)
        return [each.model for each in found if each.outcome != "missing"]
