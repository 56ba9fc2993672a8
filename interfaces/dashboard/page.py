"""What a view is, and what it is given: the study's rooms, the moment that is looked at, and who looks."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from application.check_tokens import Caller
from application.notebook import Context
from domain.errors import NotAllowed, NotAuthenticated, Rejected, StudyError
from domain.tokens import allows
from interfaces.as_of import NOW, Moment
from interfaces.study import Study

HOME = "/dashboard/"
LONGEST_PARAMETER = 2_000

Live = Callable[[], Coroutine[Any, Any, None]]


@dataclass
class Page:
    """One page that somebody looks at.

    parameters: what the address says beside the view and the moment
    moment: when it is looked at; `position` is the log's at that moment, None for now
    caller_now: asks again who looks, since a token may be revoked while a page is open
    sent: the fields of a form that was sent to this page; went_wrong: whether it could not be done
    """

    study: Study
    view: str
    parameters: Mapping[str, str]
    moment: Moment
    position: int | None
    caller: Caller
    caller_now: Callable[[], Awaitable[Caller | None]]
    sent: Mapping[str, str] = field(default_factory=dict)
    went_wrong: bool = False
    begins: list[Live] = field(default_factory=list)
    ends: list[Callable[[], None]] = field(default_factory=list)

    def href(self, view: str | None = None, **parameters: object) -> str:
        """The address of a view at the moment that is looked at."""
        return self.way_to(HOME, view=view or self.view, **parameters)

    def way_to(self, path: str, **parameters: object) -> str:
        """The address of something at the moment that is looked at; a parameter that is None or empty is left out."""
        asked: dict[str, Any] = {**parameters, "as_of": self.moment.as_of}
        return f"{path}?{urlencode({name: each for name, each in asked.items() if each not in (None, '')})}"

    def text(self, name: str) -> str | None:
        """A parameter of the address without its outer spaces; None where it is missing or empty. Raises Rejected."""
        given = self.parameters.get(name, "").strip()
        if len(given) > LONGEST_PARAMETER:
            raise Rejected(f"{name} is longer than {LONGEST_PARAMETER:,} characters", fields=(name,))
        return given or None

    @property
    def is_past(self) -> bool:
        """Whether another moment than now is looked at: what is done then would not show."""
        return self.moment != NOW

    @property
    def may_write(self) -> bool:
        """Whether who looks may ask models and change things."""
        return allows(self.caller.scope, "write")

    @property
    def usual_provider(self) -> str | None:
        """Whoever is asked where nobody is named; the first of those that are configured where that one is not."""
        with suppress(StudyError):  # what is set is not configured
            return self.study.registry.create(None).name
        return next(iter(self.study.providers.configured()), None)

    async def context(self) -> Context:
        """A command's context, on behalf of who looks now. Raises NotAuthenticated, NotAllowed."""
        caller = await self.caller_now()
        if caller is None:
            raise NotAuthenticated("Your token is no longer known here. Load the page again to sign in", presented=True)
        if not allows(caller.scope, "write"):
            raise NotAllowed(f"Your token {caller.name!r} may only look; asking needs one with the scope write")
        return self.study.context(caller.name)

    def when_shown(self, begin: Live) -> None:
        """Have something begin once the page is shown, such as following the log."""
        self.begins.append(begin)

    def when_left(self, end: Callable[[], None]) -> None:
        """Have something end when nobody looks at the page any longer."""
        self.ends.append(end)


@dataclass(frozen=True)
class Drawn:
    """A view as it is shown: its title, and its parts in order.

    parts: HTML that stands as it is, or anything that Panel shows, which lives for as long as somebody looks
    """

    title: str
    parts: tuple[Markup | Any, ...]
    lead: str = ""


@dataclass(frozen=True)
class View:
    """A way to look at the notebook.

    name: what addresses call it, ?view=NAME; shortcut: the letter that leads there after g
    draw: makes what is shown of the rooms of `page.study`, at `page.moment`; loads what is looked at and no more
    is_alive: it has parts that Panel shows, and may import it
    act: does what a form that was sent to its page asks for, and says what came of it; None where there is no form
    """

    name: str
    title: str
    shortcut: str
    draw: Callable[[Page], Awaitable[Drawn]]
    is_alive: bool = False
    act: Callable[[Page], Awaitable[Markup]] | None = None
