"""Events: the log itself, and what is added to it while somebody looks."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from application.audit_log import EventFilter
from application.follow_log import FellBehind, FollowingEnded
from domain.errors import Rejected, StudyError
from interfaces.dashboard.figures import moment, shortened
from interfaces.dashboard.forms import choice, filters, text_field
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty, failure
from interfaces.dashboard.tables import document, link, paging, table
from interfaces.study.live import filter_of
from interfaces.study.words import id_of
from projections.paging import Paging

ROWS = 100
LOOKED_BACK = 1_000  # positions before the end in which the newest events are looked for
SHOWN_EVERY_SECONDS = 0.25
KINDS = ("call", "group", "conversation", "dataset", "vectors", "sweep", "artifact", "deployment", "token")
COLUMNS = ("Position", "Recorded", "Event", "About", "By", "")
FILTERS = ("kind", "entity", "actor")
LEAD = "The log: every fact in the order in which it was recorded. Nothing in it is ever changed."


async def draw(page: Page) -> Drawn:
    """The newest events and those to come; with `after`, pages of the log from there on."""
    if page.text("after") is not None or page.text("cursor") is not None:
        return await _from_there(page)
    last = page.position if page.position is not None else await page.study.audit.end()
    found = await page.study.audit.events(page.moment, Paging(1_000), after=max(0, last - LOOKED_BACK), **_chosen(page))
    newest = deque(reversed(found["items"][-ROWS:]), maxlen=ROWS)
    beginning = link(page.href(**_chosen(page), after=0), "Read the log from its beginning →")
    return Drawn("Events", (_filters(page), *_tail(page, newest, found["looked_to"]), beginning), lead=LEAD)


async def _from_there(page: Page) -> Drawn:
    cursor, after = page.text("cursor"), page.text("after") or "0"
    if not (after.isascii() and after.isdecimal() and len(after) < 19):
        raise Rejected(f"after: {after!r} is no position in the log", fields=("after",))
    found = await page.study.audit.events(page.moment, Paging(ROWS, cursor), after=int(after), **_chosen(page))
    following = found["next_cursor"] and page.href(**_chosen(page), after=after, cursor=found["next_cursor"])
    listed = _listed(page, found["items"]) + paging(page.href(**_chosen(page)), following)
    return Drawn("Events", (_filters(page), listed), lead=LEAD)


def _tail(page: Page, newest: deque[dict[str, Any]], looked_to: int) -> tuple[Any, ...]:
    if page.is_past:
        return (_listed(page, newest),)
    from interfaces.dashboard.controls import Changing

    pane = Changing(_listed(page, newest))
    tail = _Tail(page, newest, pane, looked_to)
    page.when_shown(tail.begin)
    page.when_left(tail.end)
    return (Markup('<p class="alive" role="status">New events appear here as they are recorded.</p>'), pane.part)


class _Tail:
    """Follows the log for one page."""

    def __init__(self, page: Page, newest: deque[dict[str, Any]], pane: Any, looked_to: int) -> None:
        self._page = page
        self._newest = newest
        self._pane = pane
        self._looked_to = looked_to
        self._following: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Follow, until the page is left."""
        self._following = asyncio.create_task(self._follow())

    def end(self) -> None:
        """Follow no longer."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self) -> None:
        chosen = _chosen(self._page)
        entity = chosen.pop("entity", None)
        wanted: EventFilter = filter_of(entity=None if entity is None else id_of(entity), **chosen)
        try:
            async for seen in self._page.study.live.follow(wanted, after=self._looked_to):
                if seen.events:
                    self._newest.extendleft(event.document for event in seen.events)
                    self._pane.show(_listed(self._page, self._newest))
                    await asyncio.sleep(SHOWN_EVERY_SECONDS)  # what comes meanwhile is shown at once
        except (FellBehind, FollowingEnded) as error:
            self._pane.show(failure(error) + _listed(self._page, self._newest))
        except StudyError as error:
            self._pane.show(failure(error))


def _filters(page: Page) -> Markup:
    return filters(
        page,
        choice(page, "kind", "About", KINDS),
        text_field(page, "entity", "The id of one thing"),
        text_field(page, "actor", "By"),
    )


def _chosen(page: Page) -> dict[str, Any]:
    return {name: given for name in FILTERS if (given := page.text(name)) is not None}


def _listed(page: Page, events: Iterable[dict[str, Any]]) -> Markup:
    rows = [_row(page, event) for event in events]
    return table(COLUMNS, rows, caption="Events", numbers=(0,)) if rows else empty("No event passes these filters.")


def _row(page: Page, event: dict[str, Any]) -> list[str | Markup]:
    about: str | Markup = Markup("{} <code>{}</code>").format(event["kind"], event["entity_id"][-12:])
    if event["kind"] == "call":
        about = link(page.href("calls", call=event["entity_id"]), about)
    return [
        str(event["position"]),
        moment(event["recorded_at"]),
        event["event"],
        about,
        shortened(event["actor"], 30),
        document("facts", event["facts"]),
    ]


VIEW = View("events", "Events", "e", draw, is_alive=True)
