"""The OpenAPI document, and a page that shows it without the internet."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.static_files import create_static_files_router

ASSETS = Path(str(files("interfaces.http").joinpath("assets")))

# The page can load nothing from anywhere else, and says so to the browser.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)

DESCRIPTION = """
The lab notebook for research with language models: every call an event, every number provable.

Commands return a `position`; give it to a query as `at_least` and the query shows what the command did.
Errors are problem details (RFC 9457). `x-request-id` comes back as it was sent; a UUID becomes the correlation id of
every event the request causes.
"""


class OfflinePage(OpenAPIRenderPlugin):
    """Swagger UI from our own files."""

    def __init__(self) -> None:
        super().__init__(path="/docs")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page; it fetches the document by itself."""
        return _page()


def openapi() -> OpenAPIConfig:
    """The document at /api/openapi.json and the page at /api/docs."""
    return OpenAPIConfig(
        title="Study Query LLM",
        version=_version(),
        description=DESCRIPTION.strip(),
        use_handler_docstrings=True,
        openapi_router=Router(
            "/api",
            route_handlers=[],
            response_headers={"content-security-policy": POLICY},
            include_in_schema=False,
        ),
        render_plugins=[JsonRenderPlugin(path="/openapi.json"), OfflinePage()],
    )


def assets() -> Router:
    """The page's scripts and styles."""
    return create_static_files_router(path="/api/docs/assets", directories=[ASSETS], include_in_schema=False)


@cache
def _page() -> bytes:
    return (ASSETS / "page.html").read_bytes()


def _version() -> str:
    try:
        return version("study-query-llm")
    except PackageNotFoundError:
        return "unknown"
