"""What pages lead to beside pages: a sweep's report and a thing's provenance, as documents to keep or to send.

They stand under the dashboard's own address, since its cookie opens nothing else.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

import msgspec
from starlette.responses import Response

from domain.errors import Rejected
from interfaces.dashboard.page import HOME, Page
from interfaces.report_document import MEDIA_TYPES, report_headers
from interfaces.study.words import id_of

Direction = Literal["up", "down", "both"]
Kind = Literal["html", "md"]

REPORT_AT = f"{HOME}report"
PROVENANCE_AT = f"{HOME}provenance.json"
USUAL_DEPTH = "3"
FEW = 5


@dataclass(frozen=True)
class Document:
    """view: that which leads to it, and stands in its place where it can't be made"""

    view: str
    make: Callable[[Page], Awaitable[Response]]


async def _report(page: Page) -> Response:
    """A finished sweep's report. Raises NotFound, Rejected."""
    kind = page.text("format") or "html"
    if kind not in MEDIA_TYPES:
        raise Rejected(f"format: {kind[:40]!r} is neither html nor md", fields=("format",))
    sweep_id = id_of(_needed(page, "sweep"))
    text = await page.study.reports.render(sweep_id, cast(Kind, kind), page.moment)
    return Response(text, media_type=MEDIA_TYPES[kind], headers=report_headers(sweep_id, cast(Kind, kind)))


async def _provenance(page: Page) -> Response:
    """A thing's provenance as PROV-JSON. Raises NotFound, Rejected."""
    found = await page.study.provenance.prov_json(
        _needed(page, "kind"),
        _needed(page, "id"),
        page.moment,
        direction=direction_in(page),
        depth=depth_in(page),
        few=FEW,
    )
    headers = {"Cache-Control": "private, no-cache", "Content-Disposition": 'attachment; filename="provenance.json"'}
    return Response(msgspec.json.encode(found), media_type="application/json", headers=headers)


DOCUMENTS: Mapping[str, Document] = {
    REPORT_AT: Document("sweeps", _report),
    PROVENANCE_AT: Document("provenance", _provenance),
}


def direction_in(page: Page) -> Direction:
    """Which way the address says to go from a thing. Raises Rejected naming the field."""
    given = page.text("direction") or "both"
    if given not in get_args(Direction):
        raise Rejected(f"direction: {given[:40]!r} is none of up, down and both", fields=("direction",))
    return cast(Direction, given)


def depth_in(page: Page) -> int:
    """How many steps the address says to go. Raises Rejected naming the field."""
    given = page.text("depth") or USUAL_DEPTH
    if not (given.isascii() and given.isdecimal() and len(given) < 4):
        raise Rejected(f"depth: {given[:40]!r} is no number of steps", fields=("depth",))
    return int(given)


def _needed(page: Page, name: str) -> str:
    given = page.text(name)
    if given is None:
        raise Rejected(f"{name} is missing from the address", fields=(name,))
    return given
