"""Providers: which ones can be asked, and what they offer."""

from litestar import Router, get
from litestar.params import FromPath

from interfaces.http.parameters import Json, OpenStudy
from interfaces.http.problems import problem_responses


@get("/providers", summary="List providers", responses=problem_responses(400))
async def list_providers(study: OpenStudy) -> Json:
    """The providers that can be asked with the settings as they are now."""
    return {"items": [{"provider": name} for name in study.providers.configured()], "next_cursor": None}


@get("/providers/{name:str}/models", summary="List a provider's models", responses=problem_responses(400, 502))
async def list_models(study: OpenStudy, name: FromPath[str]) -> Json:
    """The models or deployments that a provider offers."""
    return {"items": [{"model": model} for model in await study.providers.models(name)], "next_cursor": None}


ROUTES = Router("/", route_handlers=[list_providers, list_models], tags=["providers"])
