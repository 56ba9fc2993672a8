"""A sweep's report as an answer to a browser: what it is, what it may do there, and what its file is called."""

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

MEDIA_TYPES: Mapping[str, str] = {"html": "text/html", "md": "text/markdown"}
# The page runs its own scripts, apart from everything else of this server, and loads nothing.
POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
)


def report_headers(sweep_id: UUID, kind: Literal["html", "md"]) -> dict[str, str]:
    """What is said to the browser beside the report itself."""
    return {
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": POLICY,
        "Content-Disposition": f'inline; filename="sweep-{sweep_id}.{kind}"',
    }
