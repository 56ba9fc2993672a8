"""What the providers can be told from outside."""

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

CONNECTIONS = 1_000  # that a provider's pool keeps; a call beyond them would wait there unseen


class ProviderSettings(BaseModel):
    """Keys, addresses and default models; the older Azure names are accepted. Keys are never printed, nor are
    addresses, which may hold one.
    """

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    study_default_provider: str | None = None
    study_provider_concurrency: str = ""

    azure_openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_api_key", "azure_api_key")
    )
    azure_openai_endpoint: str | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_endpoint", "azure_endpoint"), repr=False
    )
    azure_openai_deployment: str | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_deployment", "azure_deployment")
    )
    azure_openai_embedding_deployment: str | None = None
    azure_openai_api_version: str = "2024-10-21"

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = Field(default=None, repr=False)
    openai_model: str = "gpt-4o-mini"
    openai_embedding_model: str = "text-embedding-3-small"

    hyperbolic_api_key: SecretStr | None = None
    hyperbolic_endpoint: str = Field(default="https://api.hyperbolic.xyz/v1", repr=False)
    hyperbolic_model: str | None = None

    @field_validator("study_provider_concurrency")
    @classmethod
    def _readable(cls, limits: str) -> str:
        for each in filter(str.strip, limits.split(",")):
            name, sign, number = (part.strip() for part in each.rpartition("="))
            if bool(sign) != bool(name) or not number.isdecimal() or not 1 <= int(number) <= CONNECTIONS:
                raise ValueError(f"write openai=50,azure=20 or one number for each provider, from 1 to {CONNECTIONS}")
        return limits

    def calls_at_a_time(self, provider: str) -> int:
        """How many calls of a provider may be under way in this process."""
        limits = {
            name.strip().lower(): int(number)
            for name, _, number in (
                each.rpartition("=") for each in self.study_provider_concurrency.split(",") if each.strip()
            )
        }
        return limits.get(provider, limits.get("", CONNECTIONS))

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, found: Any) -> Any:
        """Compose files and CI set variables to nothing; that means the default."""
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items() if not (isinstance(value, str) and not value.strip())}
