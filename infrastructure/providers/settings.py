"""What the providers can be told from outside."""

from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


def _nothing_when_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[str | None, BeforeValidator(_nothing_when_empty)]
Secret = Annotated[SecretStr | None, BeforeValidator(_nothing_when_empty)]


class ProviderSettings(BaseModel):
    """Keys, addresses and default models; the older Azure names are accepted. Keys are never printed."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    study_default_provider: Text = None

    azure_openai_api_key: Secret = Field(
        default=None, validation_alias=AliasChoices("azure_openai_api_key", "azure_api_key")
    )
    azure_openai_endpoint: Text = Field(
        default=None, validation_alias=AliasChoices("azure_openai_endpoint", "azure_endpoint")
    )
    azure_openai_deployment: Text = Field(
        default=None, validation_alias=AliasChoices("azure_openai_deployment", "azure_deployment")
    )
    azure_openai_embedding_deployment: Text = None
    azure_openai_api_version: str = "2024-10-21"

    openai_api_key: Secret = None
    openai_base_url: Text = None
    openai_model: str = "gpt-4o-mini"
    openai_embedding_model: str = "text-embedding-3-small"

    hyperbolic_api_key: Secret = None
    hyperbolic_endpoint: str = "https://api.hyperbolic.xyz/v1"
    hyperbolic_model: Text = None
