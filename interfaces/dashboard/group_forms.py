"""What is done with groups: made, described, filled, emptied, linked. The forms are HTML, sent like any other."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast, get_args
from uuid import UUID

from markupsafe import Markup

from domain.errors import Rejected
from domain.groups import LinkType, Member
from interfaces.as_of import Moment
from interfaces.dashboard.page import Page
from interfaces.dashboard.sent_forms import folded_form, line, long_text, needed, one_of, text_in, whole_in
from interfaces.dashboard.tables import link
from interfaces.study.words import id_of


def create_form(page: Page) -> Markup:
    """Makes a group."""
    fields = (line(page, "type", "Type", hint="experiment"), line(page, "name", "Name", hint="march"))
    described = line(page, "description", "Description")
    return folded_form(page, "New group", page.href(), (*fields, described), {"create": "Create the group"})


def group_forms(page: Page, group: Mapping[str, Any]) -> Markup:
    """Change one group; what was before stays to be seen as of a moment before."""
    here, written = page.href(group=group["group_id"]), group["description"]
    other, kinds = line(page, "other", "Other group", hint="TYPE/NAME, or its id"), get_args(LinkType)
    ids = long_text(page, "calls", "Ids of calls", hint="one a line")
    leaving = long_text(page, "leaving", "Ids of calls to take out", hint="one a line")
    role, first = line(page, "role", "Role", hint="output"), line(page, "position", "Position of the first")
    joined = (
        other,
        one_of(page, "link_type", "Link", kinds, usual="contains"),
        line(page, "link_position", "Position of the link"),
    )
    forms = (
        ("Describe", (long_text(page, "description", "Description", usual=written),), {"describe": "Save"}),
        ("Add calls", (ids, role, first), {"add": "Add the calls"}),
        ("Take calls out", (leaving,), {"remove": "Take them out"}),
        ("Link with another group", joined, {"link": "Link", "unlink": "Take the link back"}),
    )
    return Markup("").join(folded_form(page, title, here, fields, buttons) for title, fields, buttons in forms)


async def act(page: Page) -> Markup:
    """Do what the form that was sent asks for, and tell what came of it. Raises Rejected naming a field."""
    do, named = _DOES.get(page.sent.get("do", "")), page.text("group")
    if do is None or (named is None) != (do is _create):
        raise Rejected("This form asks for nothing that can be done here", fields=("do",))
    return await do(page, named or "")


async def _create(page: Page, _group: str) -> Markup:
    made = await page.study.groups.create(
        needed(page, "type", "Type"),
        needed(page, "name", "Name"),
        await page.context(),
        description=text_in(page, "description") or "",
    )
    way = link(page.href("groups", group=made["group_id"]), f"{made['group_type']} / {made['name']}")
    await _seen(page, made["group_id"], made)
    return Markup("Created: {}").format(way)


async def _describe(page: Page, group: str) -> Markup:
    description = text_in(page, "description") or ""
    done = await page.study.groups.describe(group, await page.context(), description=description)
    return await _done(page, group, done, "The description is changed.")


async def _add(page: Page, group: str) -> Markup:
    ids, first = _ids(page, "calls", "Ids of calls"), whole_in(page, "position", "Position of the first")
    members = [
        Member(call_id=call_id, role=text_in(page, "role"), position=None if first is None else first + number)
        for number, call_id in enumerate(ids)
    ]
    done = await page.study.groups.add(group, members, await page.context())
    return await _done(page, group, done, f"Added. The group holds {done['member_count']:,} calls now.")


async def _remove(page: Page, group: str) -> Markup:
    ids = _ids(page, "leaving", "Ids of calls to take out")
    done = await page.study.groups.remove(group, ids, await page.context())
    return await _done(page, group, done, f"Taken out. The group holds {done['member_count']:,} calls now.")


async def _link(page: Page, group: str) -> Markup:
    place = whole_in(page, "link_position", "Position of the link")
    done = await page.study.groups.link(group, _other(page), _type(page), await page.context(), position=place)
    return await _done(page, group, done, "Linked." if done["linked"] else "They were linked like this already.")


async def _unlink(page: Page, group: str) -> Markup:
    done = await page.study.groups.unlink(group, _other(page), _type(page), await page.context())
    told = "The link is taken back." if done["unlinked"] else "They were not linked like this."
    return await _done(page, group, done, told)


async def _done(page: Page, group: str, done: Mapping[str, Any], told: str) -> Markup:
    await _seen(page, group, done)
    return Markup("{} {}").format(told, link(page.href(group=group), "Show the group as it is now"))


async def _seen(page: Page, group: str, done: Mapping[str, Any]) -> None:
    """Once what was done shows in the read models, so that the page below shows it too."""
    await page.study.groups.get(group, Moment(at_least=done.get("position")))


def _other(page: Page) -> str:
    return needed(page, "other", "Other group")


def _type(page: Page) -> LinkType:
    chosen = page.sent.get("link_type", "")
    if chosen not in get_args(LinkType):
        raise Rejected(f"Link: {chosen[:40]!r} is none of {', '.join(get_args(LinkType))}", fields=("link_type",))
    return cast(LinkType, chosen)


def _ids(page: Page, name: str, label: str) -> list[UUID]:
    return [id_of(each) for each in needed(page, name, label).replace(",", " ").split()]


_DOES: Mapping[str, Callable[[Page, str], Awaitable[Markup]]] = {
    "create": _create,
    "describe": _describe,
    "add": _add,
    "remove": _remove,
    "link": _link,
    "unlink": _unlink,
}
