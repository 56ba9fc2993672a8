"""Forms that only look: what is chosen stands in the page's address, so that it can be sent to somebody."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

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


def choice(page: Page, name: str, label: str, options: Iterable[str]) -> Markup:
    """One of a few words, or any."""
    chosen = page.parameters.get(name, "")
    shown = Markup("").join(
        Markup('<option value="{}"{}>{}</option>').format(
            each, Markup(" selected") if each == chosen else "", each.replace("_", " ") or "any"
        )
        for each in ("", *options)
    )
    return Markup('<label class="field">{}<select name="{}">{}</select></label>').format(label, name, shown)
