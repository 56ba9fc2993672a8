"""What fields of a form hold now, also while they are typed into, and what pressing its button does."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from markupsafe import Markup

from domain.errors import Rejected, StudyError
from interfaces.dashboard.controls import Changing
from interfaces.dashboard.states import failure

log = structlog.get_logger("interfaces.dashboard")


def text_in(field: Any) -> str | None:
    """A field's text without its outer spaces; None for none."""
    typed = getattr(field, "value_input", None)
    return (typed or field.value or "").strip() or None


def number_in(field: Any) -> float | None:
    """A field's number; None for an empty field. Raises Rejected naming the field."""
    text = text_in(field)
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise Rejected(f"{field.name}: {text[:40]!r} is no number", fields=(field.name,)) from None


def whole_in(field: Any) -> int | None:
    """A field's whole number; None for an empty field. Raises Rejected naming the field."""
    text = text_in(field)
    if text is None:
        return None
    if not (text.lstrip("-").isascii() and text.lstrip("-").isdecimal() and len(text) < 19):
        raise Rejected(f"{field.name}: {text[:40]!r} is no whole number", fields=(field.name,))
    return int(text)


async def told(doing: Callable[[], Awaitable[Markup]]) -> Markup:
    """What came of doing it, or why it could not be done, in plain words."""
    try:
        return await doing()
    except StudyError as error:
        return failure(error)
    except Exception as error:
        log.error("a form of the dashboard failed", exc_info=error)
        return failure(RuntimeError("Something went wrong here. The server’s log tells what."))


def does(pressed: Any, result: Changing, do: Callable[[], Awaitable[Markup]]) -> None:
    """Have a button do something, one press at a time, and show what came of it."""

    async def on_click(_event: Any) -> None:
        pressed.disabled = True
        try:
            result.show(await told(do))
        finally:
            pressed.disabled = False

    pressed.on_click(on_click)
