"""Forms that change something: they are sent to the page that they stand on, which then shows what came of it."""

from collections.abc import Iterable, Mapping

from markupsafe import Markup

from domain.errors import Rejected
from interfaces.dashboard.page import Page


def folded_form(page: Page, title: str, action: str, fields: Iterable[Markup], buttons: Mapping[str, str]) -> Markup:
    """A form that opens when its title is pressed, and stays open with what was written where that was wrong.

    buttons: what each does, as the form says it, with its label; the first is what Enter presses
    """
    stays = page.went_wrong and page.sent.get("do") in buttons
    pressed = Markup("").join(
        Markup('<button name="do" value="{}"{}>{}</button>').format(
            does, Markup(' class="primary"') if number == 0 else "", label
        )
        for number, (does, label) in enumerate(buttons.items())
    )
    return Markup(
        '<details class="folded"{}><summary>{}</summary><form method="post" action="{}">'
        '<div class="fields">{}</div><div class="actions">{}</div></form></details>'
    ).format(Markup(" open") if stays else "", title, action, Markup("").join(fields), pressed)


def line(page: Page, name: str, label: str, *, hint: str = "") -> Markup:
    """One line of text."""
    return Markup(
        '<div class="field"><label for="sent-{0}">{1}</label>'
        '<input id="sent-{0}" name="{0}" value="{2}" placeholder="{3}" maxlength="2000"></div>'
    ).format(name, label, _kept(page, name), hint)


def long_text(page: Page, name: str, label: str, *, hint: str = "", usual: str = "") -> Markup:
    """Several lines of text."""
    return Markup(
        '<div class="field all"><label for="sent-{0}">{1}</label>'
        '<textarea id="sent-{0}" name="{0}" rows="3" placeholder="{2}">\n{3}</textarea></div>'
    ).format(name, label, hint, _kept(page, name) or usual)


def one_of(page: Page, name: str, label: str, options: Iterable[str], *, usual: str) -> Markup:
    """One of a few words."""
    kept = _kept(page, name) or usual
    shown = Markup("").join(
        Markup('<option value="{}"{}>{}</option>').format(
            each, Markup(" selected") if each == kept else "", each.replace("_", " ")
        )
        for each in options
    )
    return Markup(
        '<div class="field"><label for="sent-{0}">{1}</label><select id="sent-{0}" name="{0}">{2}</select></div>'
    ).format(name, label, shown)


def text_in(page: Page, name: str) -> str | None:
    """A field's text without its outer spaces; None for none."""
    return page.sent.get(name, "").strip() or None


def needed(page: Page, name: str, label: str) -> str:
    """A field's text. Raises Rejected naming the field where it is empty."""
    text = text_in(page, name)
    if text is None:
        raise Rejected(f"{label} is empty; write it first", fields=(name,))
    return text


def whole_in(page: Page, name: str, label: str) -> int | None:
    """A field's whole number; None for an empty field. Raises Rejected naming the field."""
    text = text_in(page, name)
    if text is None:
        return None
    if not (text.lstrip("-").isascii() and text.lstrip("-").isdecimal() and len(text) < 19):
        raise Rejected(f"{label}: {text[:40]!r} is no whole number", fields=(name,))
    return int(text)


def _kept(page: Page, name: str) -> str:
    """What was written into a field of a form that could not be done."""
    return page.sent.get(name, "") if page.went_wrong else ""
