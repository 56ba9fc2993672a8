"""What the providers can be told from outside."""

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, model_validator


class ProviderSettings(BaseModel):
    """Keys, addresses and default models; the older Azure names are accepted. Keys are never printed."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    study_default_provider: str | None = None

    azure_openai_api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_api_key", "azure_api_key")
    )
    azure_openai_endpoint: str | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_endpoint", "azure_endpoint")
    )
    azure_openai_deployment: str | None = Field(
        default=None, validation_alias=AliasChoices("azure_openai_deployment", "azure_deployment")
    )
    azure_openai_embedding_deployment: str | None = None
    azure_openai_api_version: str = "2024-10-21"

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_model: str = "gpt-4o-mini"
    openai_embedding_model: str = "text-embedding-3-small"

    hyperbolic_api_key: SecretStr | None = None
    hyperbolic_endpoint: str = "https://api.hyperbolic.xyz/v1"
    hyperbolic_model: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, found: Any) -> Any:
        """Compose files and CI set variables to nothing; that means the default."""
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items() if not (isinstance(value, str) and not value.strip())}
