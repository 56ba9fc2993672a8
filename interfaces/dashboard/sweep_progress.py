"""A sweep while it runs: how far it is, how long it still takes, and ending it. Imports Panel."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from markupsafe import Markup

from domain.events import RecordedEvent
from interfaces.dashboard.controls import Changing, button, row
from interfaces.dashboard.figures import count, duration
from interfaces.dashboard.filled_in import told
from interfaces.dashboard.page import Page
from interfaces.dashboard.tables import link
from interfaces.study.sweep_news import SweepLife
from interfaces.study.words import Json

LOOK_SECONDS = 0.7
WORDS = {
    "requested": "It was asked for. The server embeds the texts and begins.",
    "running": "It runs.",
    "interrupted": "Whoever ran it has gone; a server goes on with it.",
    "finished": "It is finished.",
    "failed": "It failed.",
    "cancelled": "It was cancelled. What is finished of it stays.",
}


class SweepProgress:
    """Follows one sweep for one page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._sweep_id: UUID | None = None
        self._following: asyncio.Task[None] | None = None
        self._shown = Changing()
        self._answer = Changing()
        self._cancel = button("Cancel the sweep", visible=False)
        self._cancel.on_click(self._cancelled)
        self.parts: Sequence[Any] = (self._shown.part, row(self._cancel), self._answer.part)

    def begin(self, sweep_id: UUID) -> None:
        """Follow a sweep from its first event on, until nobody goes on with it."""
        self.end()
        self._sweep_id = sweep_id
        self._answer.show(Markup(""))
        self._following = asyncio.create_task(self._follow(sweep_id))

    def end(self) -> None:
        """Follow no longer; the sweep goes on."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, sweep_id: UUID) -> None:
        async def until_over() -> Markup:
            life = SweepLife()
            news: Json = {}
            while True:
                events: Sequence[RecordedEvent] = await self._page.study.sweeps.events_of(
                    sweep_id, after_version=life.state.version
                )
                for event in events:
                    _, heard = life.hear(event)
                    news |= {"reason": None, **heard}
                self._cancel.visible = self._page.may_write and not life.is_over
                shown = self._told(news, sweep_id, over=life.is_over)
                if life.is_over:
                    return shown
                if events:
                    self._shown.show(shown)
                await asyncio.sleep(LOOK_SECONDS)

        self._shown.show(await told(until_over))

    def _told(self, news: Json, sweep_id: UUID, *, over: bool) -> Markup:
        remaining = news.get("remaining_s")
        left = "" if over or remaining is None else Markup(" About {} to go.").format(duration(remaining * 1000))
        result = link(self._page.href("sweeps", sweep=sweep_id), "See what came of it →") if over else ""
        reason = Markup('<p class="failure">{}</p>').format(news["reason"]) if news.get("reason") else ""
        done, of = news["done"], news["of"]
        return Markup(
            '<section aria-label="Progress"><p role="status">{} {} of {} values of K are done.{}</p>'
            '<progress max="{}" value="{}" aria-label="values of K that are done" style="width: 100%"></progress>'
            "{}<p>{}</p></section>"
        ).format(WORDS.get(news["status"], news["status"]), count(done), count(of), left, of, done, reason, result)

    async def _cancelled(self, _event: Any) -> None:
        async def cancel() -> Markup:
            if self._sweep_id is not None:
                await self._page.study.sweeps.cancel(self._sweep_id, await self._page.context())
            return Markup("")

        self._answer.show(await told(cancel))
