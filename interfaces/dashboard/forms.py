"""Forms that only look: what is chosen stands in the page's address, so that it can be sent to somebody."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from application.group_calls import group_place
from domain.errors import Rejected
from interfaces.dashboard.page import HOME, Page


def filters(page: Page, *fields: Markup, more: dict[str, Markup] | None = None) -> Markup:
    """A form that narrows a view, with a way to take all filters back.

    more: fields that are seldom used, by their names; they are folded away while none of them is filled in
    """
    hidden = hidden_field("view", page.view) + hidden_field("as_of", str(page.moment.as_of or ""))
    seldom = Markup("")
    if more:
        seldom = Markup('<details class="more"{}><summary>More filters</summary><div>{}</div></details>').format(
            Markup(" open") if any(page.parameters.get(name) for name in more) else "", Markup("").join(more.values())
        )
    return Markup(
        '<form class="filters" method="get" action="{}" role="search" aria-label="Filters" data-sends-on-change>{}{}'
        '<div class="actions"><button class="primary">Search</button> <a href="{}">Clear</a></div>{}</form>'
    ).format(HOME, hidden, Markup("").join(fields), page.href(), seldom)


def hidden_field(name: str, value: str) -> Markup:
    """What a form takes along."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)


def text_field(
    page: Page, name: str, label: str, *, hint: str = "", kind: str = "text", offers: Sequence[str] = ()
) -> Markup:
    """A line of text, as the address has it; offers: what is often written."""
    listed = Markup("")
    if offers:
        options = Markup("").join(Markup('<option value="{}">').format(each) for each in offers)
        listed = Markup('<datalist id="{}-offers">{}</datalist>').format(name, options)
    return Markup(
        '<label class="field{}">{}<input type="{}" name="{}" value="{}" placeholder="{}" maxlength="2000"{}>{}</label>'
    ).format(
        " wide" if kind == "search" else "",
        label,
        kind,
        name,
        page.parameters.get(name, ""),
        hint,
        Markup(' list="{}-offers"').format(name) if offers else "",
        listed,
    )


def choice(page: Page, name: str, label: str, options: Iterable[str], *, usual: str = "") -> Markup:
    """One of a few words, or any; usual: the word that counts when none is chosen, instead of any."""
    chosen = page.parameters.get(name, "") or usual
    shown = Markup("").join(
        Markup('<option value="{}"{}>{}</option>').format(
            each, Markup(" selected") if each == chosen else "", each.replace("_", " ") or "any"
        )
        for each in (*([] if usual else [""]), *options)
    )
    return Markup('<label class="field">{}<select name="{}">{}</select></label>').format(label, name, shown)


def time_in(page: Page, name: str) -> datetime | None:
    """A field's day or time, UTC unless it says otherwise. Raises Rejected naming the field."""
    text = page.text(name)
    try:
        found = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(f"{name}: {text!r} is no time; write a day as 2026-03-01", fields=(name,)) from None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def group_in(page: Page) -> str | None:
    """The group that the address names, as people write it. Raises Rejected for what is no TYPE/NAME."""
    named = page.text("group")
    group_place(named)
    return named
