"""Pieces of HTML that fit into any notebook, light or dark; every text is escaped on its way in."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

CELL_CHARACTERS = 120
TEXT_CHARACTERS = 20_000

# Colours come from the page, so that nothing glares on a dark one; `opacity` makes what matters less recede.
FRAME = Markup('<div style="font-family:system-ui,sans-serif;max-width:60rem;line-height:1.45;color:inherit">{}</div>')
HEADING = Markup('<div style="font-weight:600;margin:0 0 .3em">{}</div>')
ASIDE = Markup('<div style="opacity:.75;font-size:.9em;margin:.3em 0">{}</div>')
WARNING = Markup('<div style="border-left:3px solid #d55e00;padding:0 .6em;margin:.3em 0">{}</div>')
TEXT = Markup(
    '<div style="white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid #0072b2;padding:0 .6em;'
    'margin:.3em 0">{}</div>'
)
CELL = Markup('<{tag} scope="{scope}" style="text-align:{align};vertical-align:top">{text}</{tag}>')
DATA = Markup('<td style="text-align:{align};vertical-align:top;overflow-wrap:anywhere">{text}</td>')


def framed(*pieces: Any) -> str:
    """Put pieces together into what `_repr_html_` returns; a text among them is escaped."""
    return str(FRAME.format(Markup("").join(piece for piece in pieces if piece)))


def heading(text: str) -> Markup:
    """What it is, in bold."""
    return HEADING.format(text)


def aside(parts: Iterable[str]) -> Markup:
    """What is known besides, in one line; empty parts are left away."""
    return ASIDE.format(" · ".join(filter(None, parts)))


def warning(text: str) -> Markup:
    """What should not be overlooked."""
    return WARNING.format(text)


def prose(text: str) -> Markup:
    """A text as it is, line by line."""
    return TEXT.format(clipped(text, TEXT_CHARACTERS))


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """Rows under headings; numbers are set to the right, long cells are clipped."""
    head = Markup("").join(CELL.format(tag="th", scope="col", align="left", text=each) for each in headings)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(DATA.format(align=_align(each), text=said(each)) for each in row))
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)


def facts(pairs: Mapping[str, Any]) -> Markup:
    """Names and values, those without a value left away."""
    body = Markup("").join(
        Markup("<tr>{}{}</tr>").format(
            CELL.format(tag="th", scope="row", align="left", text=name), DATA.format(align="left", text=said(value))
        )
        for name, value in pairs.items()
        if value not in (None, "")
    )
    return Markup("<table><tbody>{}</tbody></table>").format(body)


def said(value: Any) -> Any:
    """A value as a cell shows it; a piece of HTML made here stays as it is."""
    match value:
        case Markup():
            return value
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
        case _:
            return clipped(" ".join(str(value).split()), CELL_CHARACTERS)


def clipped(text: str, characters: int) -> str:
    """A text, or its beginning with an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _align(value: Any) -> str:
    return "right" if isinstance(value, int | float) and not isinstance(value, bool) else "left"
