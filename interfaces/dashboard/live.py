"""What is alive on a page: Panel's sessions, one for each page that needs one, gone when nobody looks any longer.

Importing this module imports Panel, which takes a second and much memory, so that it is done when it is first needed.
"""

import gc
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import panel
import structlog
from bokeh.embed.util import RenderItem
from bokeh.io import curdoc
from bokeh.settings import settings as bokeh_settings
from bokeh.util.token import get_session_id
from bokeh_fastapi.handler import SessionHandler
from fastapi import FastAPI
from panel.io.fastapi import add_applications
from panel.io.resources import LOCAL_DIST, patch_model_css
from panel.io.state import set_curdoc
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from interfaces.dashboard.page import HOME, Page

SOCKET = "/live"
UNUSED_MS = 30_000  # a page that does not connect, or that was left, is forgotten after so long
LOOK_FOR_UNUSED_MS = 5_000
SCRIPTS = (  # in the order that they need
    "static/js/bokeh.min.js",
    "static/js/bokeh-widgets.min.js",
    "static/js/bokeh-tables.min.js",
    "static/extensions/panel/panel.min.js",
)

log = structlog.get_logger(__name__)

_shown: ContextVar[tuple[Page, Sequence[Any]] | None] = ContextVar("shown", default=None)


class LiveParts:
    """Serves the parts of pages that the server goes on talking to."""

    scripts = SCRIPTS

    def __init__(self, *, unused_ms: int = UNUSED_MS, look_for_unused_ms: int = LOOK_FOR_UNUSED_MS) -> None:
        bokeh_settings.resources.set_value("server")  # nothing ever comes from elsewhere
        panel.config.notifications = panel.config.browser_info = False
        self.app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        self._sessions = add_applications(
            {SOCKET: _begin},
            app=self.app,
            title="Study",
            location=False,
            secret_key=secrets.token_bytes(32),
            sign_sessions=True,
            # They hold the token, and what a session keeps of its request travels inside the page.
            include_headers=[],
            include_cookies=[],
            unused_session_lifetime_milliseconds=unused_ms,
            check_unused_sessions_milliseconds=look_for_unused_ms,
        )
        self._context = self._sessions._applications[SOCKET]
        # The library collects all garbage when a page is forgotten, while every other page waits: what is imported by
        # now stays for ever, and need not be walked through each time.
        gc.collect()
        gc.freeze()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks for pages that were left, while the block runs."""
        async with self.app.router.lifespan_context(self.app):
            yield

    async def placed(self, request: Request, page: Page, parts: Sequence[Any]) -> tuple[list[str], dict[str, Any]]:
        """A session with these parts; the ids of the elements they go into, and what the page's script needs."""
        _shown.set((page, parts))
        try:
            session = await SessionHandler(self._sessions, self._context).get_session(request, None)
        finally:
            _shown.set(None)
        document = session.document
        with set_curdoc(document):
            for root in document.roots:
                patch_model_css(root, dist_url=LOCAL_DIST)
        item = RenderItem(token=session.token, roots=document.roots, use_for_title=False)
        places = [str(root.elementid) for root in item.roots] if item.roots else []
        return places, {"items": [item.to_json()], "address": HOME.rstrip("/") + SOCKET}

    def knows(self, scope: Scope) -> bool:
        """Whether a socket is that of a page which is still alive; after a restart none is."""
        protocols = scope.get("subprotocols", [])
        try:
            return len(protocols) == 2 and get_session_id(protocols[1]) in self._context._sessions
        except (ValueError, KeyError):  # no token of ours
            return False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a script of Panel's, or a page's socket; that of a page that was left is taken off."""
        try:
            await self.app({**scope, "root_path": HOME.rstrip("/")}, receive, send)
        finally:
            if scope["type"] == "websocket":
                # The library overlooks a client that has gone, and would keep its session for ever.
                for connection in list(self._sessions._clients):
                    if connection._socket._socket.scope.get("key_of_page") is scope["key_of_page"]:
                        self._sessions.client_lost(connection)


def _begin() -> Any:
    """Fill a new session's document with the parts of the page it is made for."""
    shown = _shown.get()
    if shown is None:  # nobody made this session for a page
        return None
    page, parts = shown
    document = curdoc()
    document.config.notify_connection_status = False  # the page says it in its own words
    document.template_variables["dist_url"] = LOCAL_DIST  # else what changes later is styled from a CDN
    for part in parts:
        part.server_doc(document, title="Study", location=False)
    for begin in page.begins:
        panel.state.onload(begin)

    def left(_context: object) -> None:
        for end in page.ends:
            end()

    panel.state.on_session_destroyed(left)
    return None
