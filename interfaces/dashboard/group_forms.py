"""What is done with groups: made, described, filled, emptied, linked. Imports Panel."""

from typing import Any, cast, get_args
from uuid import UUID

from markupsafe import Markup

from domain.errors import Rejected
from domain.groups import LinkType, Member
from interfaces.dashboard.controls import Changing, button, folded, line, long_text, one_of, row
from interfaces.dashboard.filled_in import does, text_in, whole_in
from interfaces.dashboard.page import Page
from interfaces.dashboard.tables import link
from interfaces.study.words import id_of


class CreateForm:
    """Makes a group."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.type = line("Type", hint="experiment")
        self.name = line("Name", hint="march")
        self.description = line("Description")
        self.create = button("Create the group", primary=True)
        self.result = Changing()
        does(self.create, self.result, self._create)
        self.parts = (
            folded("New group", row(self.type, self.name, self.description), row(self.create)),
            self.result.part,
        )

    async def _create(self) -> Markup:
        made = await self._page.study.groups.create(
            _needed(self.type),
            _needed(self.name),
            await self._page.context(),
            description=text_in(self.description) or "",
        )
        way = link(self._page.href("groups", group=made["group_id"]), f"{made['group_type']} / {made['name']}")
        return Markup('<p role="status">Created: {}</p>').format(way)


class GroupForms:
    """Changes one group; what was before stays to be seen as of a moment before."""

    def __init__(self, page: Page, group: dict[str, Any]) -> None:
        self._page, self._group_id = page, group["group_id"]
        self.description = long_text("Description", rows=2, value=group["description"])
        self.calls = long_text("Ids of calls", rows=2, hint="one a line")
        self.role = line("Role", hint="output")
        self.position = line("Position of the first")
        self.leaving = long_text("Ids of calls to take out", rows=2, hint="one a line")
        self.other = line("Other group", hint="TYPE/NAME, or its id")
        self.link_type = one_of("Link", get_args(LinkType), "contains")
        self.link_position = line("Position of the link")
        self.result = Changing()
        describe, add, remove = button("Save"), button("Add the calls", primary=True), button("Take them out")
        join, part = button("Link", primary=True), button("Take the link back")
        does_what = ((describe, self._describe), (add, self._add), (remove, self._remove))
        for pressed, do in (*does_what, (join, self._link), (part, self._unlink)):
            does(pressed, self.result, do)
        self.parts = (
            folded("Describe", self.description, row(describe)),
            folded("Add calls", self.calls, row(self.role, self.position), row(add)),
            folded("Take calls out", self.leaving, row(remove)),
            folded("Link with another group", row(self.other, self.link_type, self.link_position), row(join, part)),
            self.result.part,
        )

    async def _describe(self) -> Markup:
        description = text_in(self.description) or ""
        await self._page.study.groups.describe(self._group_id, await self._page.context(), description=description)
        return self._done("The description is changed.")

    async def _add(self) -> Markup:
        ids, first, role = _ids(self.calls), whole_in(self.position), text_in(self.role)
        members = [
            Member(call_id=call_id, role=role, position=None if first is None else first + number)
            for number, call_id in enumerate(ids)
        ]
        done = await self._page.study.groups.add(self._group_id, members, await self._page.context())
        return self._done(f"Added. The group holds {done['member_count']:,} calls now.")

    async def _remove(self) -> Markup:
        ids = _ids(self.leaving)
        done = await self._page.study.groups.remove(self._group_id, ids, await self._page.context())
        return self._done(f"Taken out. The group holds {done['member_count']:,} calls now.")

    async def _link(self) -> Markup:
        other, link_type, context = self._other(), self._type(), await self._page.context()
        place = whole_in(self.link_position)
        done = await self._page.study.groups.link(self._group_id, other, link_type, context, position=place)
        return self._done("Linked." if done["linked"] else "They were linked like this already.")

    async def _unlink(self) -> Markup:
        other, context = self._other(), await self._page.context()
        done = await self._page.study.groups.unlink(self._group_id, other, self._type(), context)
        return self._done("The link is taken back." if done["unlinked"] else "They were not linked like this.")

    def _other(self) -> str:
        return _needed(self.other)

    def _type(self) -> LinkType:
        return cast(LinkType, self.link_type.value)

    def _done(self, what: str) -> Markup:
        again = link(self._page.href("groups", group=self._group_id), "Show the group as it is now")
        return Markup('<p role="status">{} {}</p>').format(what, again)


def _needed(field: Any) -> str:
    text = text_in(field)
    if text is None:
        raise Rejected(f"{field.name} is empty; write it first", fields=(field.name,))
    return text


def _ids(field: Any) -> list[UUID]:
    return [id_of(each) for each in _needed(field).replace(",", " ").split()]
