"""Providers: which ones can be asked, and what they offer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import Router, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta, Struct, convert

from application.validate_deployments import MOST_DEPLOYMENTS
from interfaces.http.parameters import Json, OpenStudy, RequestContext
from interfaces.http.problems import problem_responses


@get("/providers", summary="List providers", responses=problem_responses(400))
async def list_providers(study: OpenStudy) -> Json:
    """The providers that can be asked with the settings as they are now."""
    return {"items": [{"provider": name} for name in study.providers.configured()], "next_cursor": None}


@get("/providers/{name:str}/models", summary="List a provider's models", responses=problem_responses(400, 502))
async def list_models(study: OpenStudy, name: FromPath[str]) -> Json:
    """The models or deployments that a provider offers."""
    return {"items": [{"model": model} for model in await study.providers.models(name)], "next_cursor": None}


class DeploymentsBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deployments (or models) to validate."""

    models: Annotated[list[str], Meta(min_length=1, max_length=MOST_DEPLOYMENTS)]
    operation: Literal["chat", "embeddings"] = "embeddings"
    again: bool = False


class ValidatedDeployment(Struct, frozen=True, kw_only=True):
    """What is known of one: `unknown` is for trouble that may pass, which `reason` tells and nobody remembers."""

    provider: str
    model: str
    operation: str
    outcome: Literal["available", "missing", "unknown"]
    remembered: bool
    probed_at: datetime
    call_id: UUID
    http_status: int | None
    reason: str | None


class ValidatedDeployments(Struct, frozen=True, kw_only=True):
    """In the order in which they were named."""

    items: list[ValidatedDeployment]
    next_cursor: None = None


@post(
    "/providers/{name:str}/validate",
    summary="Validate deployments",
    status_code=200,
    responses=problem_responses(400, 413, 503),
)
async def validate_deployments(
    data: Annotated[
        DeploymentsBody,
        Body(title="What to validate", examples=[Example(value={"models": ["local-ngrams", "another"]})]),
    ],
    name: FromPath[str],
    study: OpenStudy,
    context: RequestContext,
) -> ValidatedDeployments:
    """Find out which deployments (or models) there are: each is asked once, and the answer is remembered for a time."""
    found = await study.providers.validate(name, data.models, context, operation=data.operation, again=data.again)
    return ValidatedDeployments(items=[convert(each, ValidatedDeployment, from_attributes=True) for each in found])


ROUTES = Router("/", route_handlers=[list_providers, list_models, validate_deployments], tags=["providers"])
