"""The OpenAPI document, and a page that shows it without the internet."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import Request, Router, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.static_files import create_static_files_router

from interfaces.http.document import completed

ASSETS = Path(str(files("interfaces.http").joinpath("assets")))

# The page can load nothing from anywhere else, and says so to the browser.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)

DESCRIPTION = """
The lab notebook for research with language models: every call an event, every number provable.

With an `Idempotency-Key`, a POST that is sent again is answered with what it was answered, and nothing is done twice.
Lists are `{items, next_cursor}`; pass `next_cursor` as `cursor` for the page that follows. Times are RFC 3339 in UTC.
Answers come compressed (br, gzip) where the client takes that. HEAD is taken wherever GET is.
What is asked with `as_of` never changes: it has an ETag, and is a 304 for who sends that as `If-None-Match`.

Commands return a `position`; give it to a query as `at_least` and the query shows what the command did. It is null
for an answer that came while the store was away, which waits in a journal and is appended when the store is back.
Errors are problem details (RFC 9457). `x-request-id` comes back as it was sent; a UUID becomes the correlation id of
every event the request causes.
"""


class OfflinePage(OpenAPIRenderPlugin):
    """Swagger UI from our own files."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page; it fetches the document by itself."""
        return _page()


@get("/api/openapi.json", media_type="application/vnd.oai.openapi+json", include_in_schema=False)
async def openapi_document(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """The document. Not served by the framework, whose own page for unknown addresses would then stand under /api."""
    return completed(request.app)


def openapi() -> OpenAPIConfig:
    """The page at /api/docs, and what the document says in general."""
    page = Router(
        "/api/docs", route_handlers=[], response_headers={"content-security-policy": POLICY}, include_in_schema=False
    )
    return OpenAPIConfig(
        title="Study Query LLM",
        version=_version(),
        description=DESCRIPTION.strip(),
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _method, _path: handler.handler_name,
        openapi_router=page,
        render_plugins=[OfflinePage()],
    )


def routes() -> list[Any]:
    """The document, and the page's scripts and styles."""
    assets = create_static_files_router(path="/api/docs/assets", directories=[ASSETS], include_in_schema=False)
    return [openapi_document, assets]


@cache
def _page() -> bytes:
    return (ASSETS / "page.html").read_bytes()


def _version() -> str:
    try:
        return version("study-query-llm")
    except PackageNotFoundError:
        return "unknown"
