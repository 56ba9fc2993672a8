"""One call: what was asked, what came back, each attempt, and what it cost."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import badge, count, dollars, duration, moment
from interfaces.dashboard.page import Drawn, Page
from interfaces.dashboard.tables import cards, document, facts, link, prose, section, table


async def draw_call(page: Page, call_id: str) -> Drawn:
    """The page of a call. Raises NotFound, also when it had not been asked at the moment that is looked at."""
    call = await page.study.calls.get(call_id, page.moment)
    return Drawn("Call", (Markup('<p class="id"><code>{}</code></p>').format(call["call_id"]), *parts_of(page, call)))


def parts_of(page: Page, call: dict[str, Any]) -> tuple[Markup, ...]:
    """What there is to see of a call, as `study.calls.get` knows it."""
    shared = [section("Shared", _shared(page, call))] if call["source_call_id"] else []
    return (
        cards(_figures(call)),
        *shared,
        *_answer(call),
        section("Asked", *_asked(call)),
        section("Attempts", attempts_of(call)),
        section("Recorded", facts(_record(page, call)), *_documents(call)),
    )


def _figures(call: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    tokens = call["tokens"] or {}
    return [
        ("Status", badge(call["status"])),
        ("Model", Markup('{}<span class="note">{}</span>').format(call["model"], call["provider"])),
        ("Latency", duration(call["latency_ms"])),
        (
            "Tokens",
            Markup('{}<span class="note">{} in, {} out</span>').format(
                count(tokens.get("total")), count(tokens.get("prompt")), count(tokens.get("completion"))
            ),
        ),
        ("Cost", dollars(call["cost"])),
        ("Attempts", count(call["attempts"])),
    ]


def _answer(call: dict[str, Any]) -> list[Markup]:
    parts = []
    if call["text"] is not None:
        parts.append(section("Answer", prose(call["text"])))
    if call["error"]:
        parts.append(section("What went wrong", _error(call["error"])))
    if call["text"] is None and call["partial_text"]:
        parts.append(section("What had come before it broke off", prose(call["partial_text"])))
    return parts


def _error(error: dict[str, Any]) -> Markup:
    status = "" if error.get("http_status") is None else f"HTTP {error['http_status']}"
    return Markup('<p class="failure">{}<span class="note">{} {}</span></p>').format(
        error.get("message") or "No message came", (error.get("kind") or "").replace("_", " "), status
    )


def _asked(call: dict[str, Any]) -> list[Markup]:
    messages = (call["request"] or {}).get("messages") if isinstance(call["request"], dict) else None
    if not messages:
        return [prose(call["prompt"] or "")]
    return [
        Markup('<div class="message"><span class="role">{}</span>{}</div>').format(
            each.get("role", ""),
            prose(each["content"])
            if isinstance(each.get("content"), str)
            else document("content", each.get("content")),
        )
        for each in messages
    ]


def attempts_of(call: dict[str, Any]) -> Markup:
    """Each attempt: when, how long, and what went wrong."""
    rows = [
        [
            count(each["attempt"]),
            badge(each["outcome"]),
            moment(each["at"]),
            duration(each["latency_ms"]),
            "" if not each["waits_seconds"] else f"then waited {each['waits_seconds']:.1f} s",
            _error(each["error"]) if each["error"] else "",
        ]
        for each in call["attempts_made"]
    ]
    columns = ("No.", "Outcome", "At", "Latency", "", "Why")
    return table(columns, rows, caption="Attempts, in order", numbers=(3,)) if rows else Markup("<p>None yet.</p>")


def _record(page: Page, call: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    call_id = call["call_id"]
    return [
        ("Asked at", moment(call["created_at"])),
        ("Ended at", moment(call["ended_at"])),
        ("By", call["actor"]),
        ("Finish reason", call["finish_reason"] or "–"),
        ("Position in the log", link(page.href("events", after=max(call["position"] - 1, 0)), str(call["position"]))),
        ("Request hash", Markup("<code>{}</code>").format(call["request_hash"] or "–")),
        ("History", link(page.href("events", entity=call_id, after=0), "Every event of this call")),
        (
            "Provenance",
            link(page.href("provenance", kind="call", id=call_id), "What it came from, and what was made of it"),
        ),
    ]


def _documents(call: dict[str, Any]) -> list[Markup]:
    wanted = {
        "Raw request": call["request"],
        "Raw response": call["response"],
        "As it was before preprocessing": call["original"],
        "Preprocessing": call["preprocessing"],
        "Metadata": call["metadata"] or None,
        "Price": call.get("price"),
    }
    return [document(title, content) for title, content in wanted.items() if content is not None]


def _shared(page: Page, call: dict[str, Any]) -> Markup:
    return Markup("<p>Answered by {}, which was paid for once ({}).</p>").format(
        link(page.href("calls", call=call["source_call_id"]), "another call"), call["how"]
    )
