"""Tables, cards and lists of facts, as HTML."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

SHOWN_CHARACTERS = 200_000

Cell = str | Markup


def link(address: str, text: Cell, *, css: str = "") -> Markup:
    """A way to another view."""
    return Markup('<a href="{}" class="{}">{}</a>').format(address, css, text)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, caption: str, numbers: Sequence[int] = ()
) -> Markup:
    """Rows under their columns.

    caption: what the table holds, for who can't see it; numbers: the columns that hold numbers
    """
    right = dict.fromkeys(numbers, Markup(' class="number"'))
    head = Markup("").join(
        Markup("<th scope=col{}>{}</th>").format(right.get(at, ""), name) for at, name in enumerate(columns)
    )
    # A table may have thousands of cells: each is escaped, and nothing is formatted for it.
    begins = [Markup('<td{} data-column="{}">').format(right.get(at, ""), name) for at, name in enumerate(columns)]
    ends = Markup("</td>")
    body = Markup("").join(
        Markup("<tr>") + Markup("").join(begin + escape(cell) + ends for begin, cell in zip(begins, row, strict=True))
        for row in rows
    )
    return Markup(
        '<div class="scrolls" tabindex="0" role="region" aria-label="{}"><table><caption>{}</caption>'
        "<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(caption, caption, head, body)


def cards(facts: Iterable[tuple[str, Cell]]) -> Markup:
    """Few facts, large."""
    return Markup('<dl class="cards">{}</dl>').format(_pairs(facts))


def facts(pairs: Iterable[tuple[str, Cell]]) -> Markup:
    """Facts, one a line."""
    return Markup('<dl class="facts">{}</dl>').format(_pairs(pairs))


def section(title: str, *parts: Cell) -> Markup:
    """Parts under a heading."""
    return Markup("<section><h2>{}</h2>{}</section>").format(title, Markup("").join(parts))


def prose(text: str) -> Markup:
    """A text as it was written."""
    return Markup('<div class="prose">{}</div>').format(text)


def document(title: str, content: Any, *, shown: bool = False) -> Markup:
    """A JSON document that opens when it is asked for; what is longer than 200,000 characters is cut, and says so."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    cut = "" if len(text) <= SHOWN_CHARACTERS else f"\n… and {len(text) - SHOWN_CHARACTERS:,} characters more"
    return Markup('<details{}><summary>{}</summary><pre tabindex="0">{}{}</pre></details>').format(
        Markup(" open") if shown else "", title, text[:SHOWN_CHARACTERS], cut
    )


def paging(first: str | None, following: str | None) -> Markup:
    """Ways to the first page and to the next one; None where there is none."""
    ways = [link(first, "⇤ First page")] if first else []
    ways += [link(following, "Next page →", css="primary")] if following else []
    return (
        Markup('<nav class="paging" aria-label="Pages">{}</nav>').format(Markup(" ").join(ways)) if ways else Markup("")
    )


def _pairs(pairs: Iterable[tuple[str, Cell]]) -> Markup:
    return Markup("").join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in pairs)
