"""Calls: which there are, and one of them with all that is known of it."""

from typing import Any

from markupsafe import Markup, escape

from interfaces.dashboard.call import draw_call
from interfaces.dashboard.figures import badge, count, dollars, duration, moment, shortened
from interfaces.dashboard.forms import choice, filters, group_in, text_field, time_in
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import link, paging, table
from interfaces.study.calls import calls_wanted
from projections.call_queries import STATUSES, CallFilter
from projections.paging import Paging

ROWS = 50
HOW_TO_SEARCH = ("part", "order", "match")
MODALITIES = ("text", "embedding", "image", "audio")
FILTERS = ("q", *HOW_TO_SEARCH, "provider", "model", "modality", "status", "group", "since", "until")
COLUMNS = ("When", "Status", "Model", "Latency", "Tokens", "Cost", "Tries", "")
NUMBERS = (3, 4, 5, 6)


async def draw(page: Page) -> Drawn:
    """One call if the address names it, else those that pass its filters, newest first."""
    if (call_id := page.text("call")) is not None:
        return await draw_call(page, call_id)
    cursor = page.text("cursor")
    found = await page.study.calls.list(_wanted(page), page.moment, Paging(ROWS, cursor))
    chosen = {name: page.text(name) for name in FILTERS}
    behind = found.get("searched", {}).get("behind_events", 0)
    if found["items"]:
        following = found["next_cursor"] and page.href(**chosen, cursor=found["next_cursor"])
        rows = [_row(page, call) for call in found["items"]]
        listed = table(COLUMNS, rows, caption="Calls, newest first", numbers=NUMBERS)
        listed += paging(page.href(**chosen) if cursor else None, following)
    elif any(chosen.values()):
        listed = empty("No call passes these filters.", link(page.href(), "Take them back"))
    else:
        listed = empty("Nothing has been asked yet.", link(page.href("ask"), "Ask a model"))
    if behind:
        listed = Markup('<p class="note">The newest {} events are not in the index yet.</p>').format(behind) + listed
    return Drawn("Calls", (_filters(page), listed), lead="Every request to a model, recorded before it was made.")


def _filters(page: Page) -> Markup:
    matches = {"match": choice(page, "match", "Look for", ("words", "substring"))}
    return filters(
        page,
        text_field(page, "q", "Words in prompt or answer", kind="search", hint='"in a row", one OR other, -without'),
        choice(page, "status", "Status", STATUSES),
        text_field(page, "provider", "Provider", offers=page.study.providers.configured()),
        text_field(page, "model", "Model"),
        more={
            "part": choice(page, "part", "Search in", ("prompt", "answer")),
            "order": choice(page, "order", "Order of what is found", ("newest", "rank")),
            **(matches if page.study.calls.finds_substrings else {}),
            "modality": choice(page, "modality", "Kind", MODALITIES),
            "group": text_field(page, "group", "Group", hint="TYPE/NAME"),
            "since": text_field(page, "since", "Since", hint="2026-03-01"),
            "until": text_field(page, "until", "Until", hint="2026-03-02 12:00"),
        },
    )


def _wanted(page: Page) -> CallFilter:
    words = {name: page.text(name) for name in ("provider", "model", "modality", "status", *HOW_TO_SEARCH)}
    if page.text("q") is None:
        words |= dict.fromkeys(HOW_TO_SEARCH)  # how to search, where nothing is searched for
    return calls_wanted(
        search=page.text("q"), group=group_in(page), since=time_in(page, "since"), until=time_in(page, "until"), **words
    )


def _row(page: Page, call: dict[str, Any]) -> list[str | Markup]:
    return [
        link(page.href("calls", call=call["call_id"]), moment(call["created_at"])),
        badge(call["status"]),
        Markup('{} <span class="note">{}</span>').format(call["model"], call["provider"]),
        duration(call["latency_ms"]),
        count((call["tokens"] or {}).get("total")),
        dollars(call["cost"]),
        count(call["attempts"]),
        _told(call),
    ]


def _told(call: dict[str, Any]) -> Markup:
    """What it was found by, or why it failed, or of which kind it is when that is not text."""
    if "found" in call:
        return Markup("<br>").join(
            Markup('<span class="note">{}:</span> {}').format(each["part"], _marked(each["text"], each["marks"]))
            for each in call["found"]
        )
    told = shortened((call["error"] or {}).get("message"), 60) or (
        "" if call["modality"] == "text" else call["modality"]
    )
    return Markup('<span class="note">{}</span>').format(told)


def _marked(text: str, marks: list[list[int]]) -> Markup:
    """An excerpt with the words that were searched for."""
    parts, shown = [], 0
    for begins, ends in marks:
        parts += [escape(text[shown:begins]), Markup("<mark>{}</mark>").format(text[begins:ends])]
        shown = ends
    return Markup("").join([*parts, escape(text[shown:])])


VIEW = View("calls", "Calls", "c", draw)
