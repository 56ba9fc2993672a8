"""The dashboard as an application of its own under /dashboard/: pages, assets, the way in, and what is alive."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from jinja2 import Environment
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Message, Receive, Scope, Send

from application.check_tokens import Caller
from domain.errors import NotFound, Rejected, StudyError
from interfaces.as_of import NOW, Moment
from interfaces.dashboard.assets import ASSETS, ASSETS_AT, read
from interfaces.dashboard.documents import DOCUMENTS
from interfaces.dashboard.entrance import login_page, nowhere, read_form, signed_in, signed_out, token_in
from interfaces.dashboard.page import HOME, Drawn, Page, View
from interfaces.dashboard.states import failure, status_of
from interfaces.dashboard.views import VIEWS
from interfaces.study import Study

if TYPE_CHECKING:
    from interfaces.dashboard.live import LiveParts

OF_THE_SHELL = ("view", "as_of")
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
POLICY_VIOLATION = 1008
NOTHING_TO_DO = {"do": ""}  # of a form that is empty, or larger than any of ours
LARGEST_SENT_BYTES = 1_000_000  # the ids of some twenty thousand calls

Made = Response | tuple[Drawn, int]  # a document, or a view with its status
Authenticate = Callable[[str | None], Awaitable[Caller | None]]

log = structlog.get_logger("interfaces.dashboard")


_environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_shell = _environment.from_string(read("page.html").decode())


class Dashboard:
    """The pages for people.

    authenticate: who comes with a token, or without one; None for somebody who has to sign in first
    """

    def __init__(self, study: Study, authenticate: Authenticate) -> None:
        self._study = study
        self._authenticate = authenticate
        self._stack = AsyncExitStack()
        self._live: LiveParts | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves while the block runs."""
        async with self._stack:
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one page's socket. Both have been checked to come from a page of this server."""
        if scope["type"] == "websocket":
            await self._talk(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = list(message.get("headers", []))
                own = {name.lower() for name, _ in said}
                message["headers"] = [*said, *(each for each in HEADERS.items() if each[0] not in own)]
            await send(message)

        await self._answer(scope, receive, send_with_headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path, method = scope["path"], scope["method"]
        if path.startswith(f"{HOME}static/") and method in ("GET", "HEAD"):
            await (await self._live_parts())(scope, receive, send)
            return
        token = token_in(_headers(scope))
        response: Response
        if path.startswith(f"{HOME}assets/"):
            response = _asset(path.rpartition("/")[2])
        elif path == f"{HOME}login" and method == "POST":
            response = await self._sign_in(request)
        elif path == f"{HOME}logout" and method == "POST":
            response = signed_out()
        elif path == HOME and method == "POST":
            response = await self._page(request, token, sent=True)
        elif path in (HOME, HOME.rstrip("/"), *DOCUMENTS) and method in ("GET", "HEAD"):
            response = await self._page(request, token)
        else:
            response = nowhere()
        await response(scope, receive, send)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        token, leads_to = form.get("token", "").strip(), form.get("leads_to", HOME)
        if token and await self._study.tokens.caller_of(token) is not None:
            return signed_in(request, token, leads_to)
        return login_page(leads_to, wrong=True)

    async def _page(self, request: Request, token: str | None, *, sent: bool = False) -> Response:
        path, query = request.url.path, request.query_params
        if path == HOME.rstrip("/"):
            return RedirectResponse(f"{HOME}?{request.url.query}".rstrip("?"), status_code=308)
        caller = await self._authenticate(token)
        if caller is None:
            return login_page(f"{path}?{request.url.query}", wrong=token is not None)
        document = DOCUMENTS.get(path)
        fields = await read_form(request, LARGEST_SENT_BYTES) or NOTHING_TO_DO if sent else {}
        page = Page(
            self._study,
            query.get("view", VIEWS[0].name) if document is None else document.view,
            {name: value for name, value in query.items() if name not in OF_THE_SHELL},
            Moment(query.get("as_of", "").strip() or None),
            None,
            caller,
            lambda: self._authenticate(token),
            fields,
        )
        made = await _tried(page, self._drawn(page) if document is None else document.make(page))
        if isinstance(made, Response):
            return made
        drawn, status = made
        return HTMLResponse(await self._html(request, page, drawn), status, {"cache-control": "no-store"})

    async def _drawn(self, page: Page) -> tuple[Drawn, int]:
        view = _view(page.view)
        if view.is_alive:
            await self._live_parts()
        if page.moment.as_of is not None:
            page.position = await self._study.moments.position_of(page.moment.as_of)
        if not page.sent:
            return await view.draw(page), 200
        told, status = await _done(view, page)
        drawn = await view.draw(page)
        return replace(drawn, parts=(told, *drawn.parts)), status

    async def _html(self, request: Request, page: Page, drawn: Drawn) -> str:
        alive = [part for part in drawn.parts if not isinstance(part, Markup)]
        places: list[str] = []
        items: dict[str, Any] | None = None
        scripts: tuple[str, ...] = ()
        if alive:
            live = await self._live_parts()
            places, items = await live.placed(request, page, alive)
            scripts = live.scripts
        waiting = iter(places)
        parts = [
            part if isinstance(part, Markup) else Markup('<div class="live" id="{}"></div>').format(next(waiting))
            for part in drawn.parts
        ]
        return _shell.render(
            page=page,
            drawn=drawn,
            parts=parts,
            views=VIEWS,
            home=HOME,
            assets=ASSETS_AT,
            scripts=scripts,
            items=None if items is None else Markup(_inside_script(items)),  # noqa: S704 - < is escaped
            as_of=page.moment.as_of or "",
            kept=[("view", page.view), *((n, v) for n, v in page.parameters.items() if n != "cursor")],
            now=_now(page),
        )

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a socket for as long as the token that it came with is known."""
        token = token_in(_headers(scope))
        known = self._live is not None and scope["path"] == f"{HOME}live/ws" and self._live.knows(scope)
        if not known or await self._authenticate(token) is None:
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        closed = False

        async def receive_if_known() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.receive" and await self._authenticate(token) is None:
                closed = True
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})
                return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}
            return message

        async def send_if_known(message: Message) -> None:
            if not closed and (message["type"] != "websocket.send" or await self._authenticate(token) is not None):
                await send(message)

        live = await self._live_parts()
        await live({**scope, "key_of_page": object()}, receive_if_known, send_if_known)

    async def _live_parts(self) -> "LiveParts":
        async with self._starting:
            if self._live is None:
                made = await asyncio.to_thread(_import_live)
                self._live = made()
                await self._stack.enter_async_context(self._live.running())
            return self._live


async def _tried(page: Page, making: Awaitable[Made]) -> Made:
    """What was wanted, or what says why it can't be shown."""
    try:
        return await making
    except StudyError as error:
        return Drawn("This can’t be shown", (failure(error),)), status_of(error)
    except Exception as error:
        log.error("a view could not be drawn", view=page.view, exc_info=error)
        told = RuntimeError("Something went wrong here. The server’s log tells what, under this page’s request id.")
        return Drawn("This can’t be shown", (failure(told),)), 500


async def _done(view: View, page: Page) -> tuple[Markup, int]:
    """What came of a form that was sent to a page, or why it could not be done, with its status."""
    try:
        if view.act is None or page.is_past:
            raise Rejected("Nothing can be done here", fields=("do",))
        return Markup('<p class="done" role="status">{}</p>').format(await view.act(page)), 200
    except StudyError as error:
        page.went_wrong = True
        return failure(error), status_of(error)


def _import_live() -> "type[LiveParts]":
    from interfaces.dashboard.live import LiveParts

    return LiveParts


def _headers(scope: Scope) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}


def _view(name: str) -> View:
    for view in VIEWS:
        if view.name == name:
            return view
    raise NotFound(f"There is no view {name[:60]!r}; there are {', '.join(view.name for view in VIEWS)}")


def _now(page: Page) -> str:
    parameters = {name: value for name, value in page.parameters.items() if name != "cursor"}
    return Page(page.study, page.view, {}, NOW, None, page.caller, page.caller_now).href(**parameters)


def _asset(name: str) -> Response:
    if name not in ASSETS:
        return HTMLResponse("Not found", status_code=404)
    content, media_type = ASSETS[name]
    return Response(content, media_type=media_type, headers={"cache-control": "public, max-age=31536000, immutable"})


def _inside_script(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode().replace("<", "\\u003c")
