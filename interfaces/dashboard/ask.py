"""Ask: a prompt and its parameters, the answer while it comes, and what it cost."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import link

LEAD = "The request is recorded before it is sent, the answer before you see it."


async def draw(page: Page) -> Drawn:
    """The form, for whoever may ask."""
    if not page.may_write:
        return Drawn("Ask", (empty("Your token may look, but not ask.", "That needs one with the scope write."),))
    if page.is_past:
        now = link("/dashboard/?view=ask", "Go back to now")
        return Drawn("Ask", (empty("You are looking at the past, where nothing can be asked.", now),))
    from interfaces.dashboard.asking import AskForm

    form = AskForm(page, {name: page.text(name) or "" for name in ("prompt", "provider", "model", "group")})
    page.when_shown(form.load_models)
    page.when_left(form.leave)
    parts: tuple[Markup | Any, ...] = (form.fields, form.result.part)
    return Drawn("Ask", parts, lead=LEAD)


VIEW = View("ask", "Ask", "a", draw, is_alive=True)
