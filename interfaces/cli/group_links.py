"""How groups hang together, from the command line."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import (
    Invocation,
    as_of_a_moment,
    by_the_page,
    json_object,
    study_command,
)

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging

LINK_TYPES = click.Choice(["step", "contains", "depends_on", "generates"])


def add_to(group: click.Group) -> None:
    """Add the commands."""
    study_command(group, "link", examples="study group link experiment/march run/first --type contains --position 1")(
        link
    )
    study_command(group, "unlink", examples="study group unlink experiment/march run/first --type contains")(unlink)
    study_command(group, "children", examples="study group children experiment/march")(children)
    study_command(group, "parents", examples="study group parents run/first")(parents)
    study_command(group, "steps", examples="study group steps run/first")(steps)
    study_command(
        group,
        "dependencies",
        examples="study group dependencies run/first\nstudy group dependencies dataset/reviews --direction down",
    )(dependencies)


@click.argument("parent")
@click.argument("child")
@click.option("--type", "link_type", type=LINK_TYPES, required=True, help="What the parent has to do with the child.")
@click.option("--position", type=int, help="The child's place among the parent's, such as a step's number.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="What else is to be known of the link.")
def link(
    invocation: Invocation,
    parent: str,
    child: str,
    link_type: Any,
    position: int | None,
    metadata: dict[str, Any] | None,
) -> None:
    """Link two groups, unless that would close a cycle. A link that stands already stays as it is."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.link(parent, child, link_type, study.context(), position=position, metadata=metadata)

    found = invocation.run(work)
    done = "Linked" if found["linked"] else "Linked already:"
    invocation.answer(found, lambda _console: click.echo(f"{done} {parent} {link_type} {child}."))


@click.argument("parent")
@click.argument("child")
@click.option("--type", "link_type", type=LINK_TYPES, required=True, help="Which link between the two.")
def unlink(invocation: Invocation, parent: str, child: str, link_type: Any) -> None:
    """Take a link back. As of a moment before, it still stands."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.unlink(parent, child, link_type, study.context())

    found = invocation.run(work)
    done = "Unlinked" if found["unlinked"] else "No such link:"
    invocation.answer(found, lambda _console: click.echo(f"{done} {parent} {link_type} {child}."))


@click.argument("group")
@click.option("--type", "link_type", type=LINK_TYPES, help="Only by links of this type.")
@as_of_a_moment
@by_the_page
def children(invocation: Invocation, group: str, link_type: str | None, moment: "Moment", page: "Paging") -> None:
    """List the groups that a group links to."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.children(group, moment, page, link_type=link_type)

    _answer_links(invocation, invocation.run(work))


@click.argument("group")
@click.option("--type", "link_type", type=LINK_TYPES, help="Only by links of this type.")
@as_of_a_moment
@by_the_page
def parents(invocation: Invocation, group: str, link_type: str | None, moment: "Moment", page: "Paging") -> None:
    """List the groups that link to a group."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.parents(group, moment, page, link_type=link_type)

    _answer_links(invocation, invocation.run(work))


@click.argument("group")
@as_of_a_moment
@by_the_page
def steps(invocation: Invocation, group: str, moment: "Moment", page: "Paging") -> None:
    """List the steps of a run, in their order."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.children(group, moment, page, link_type="step")

    _answer_links(invocation, invocation.run(work))


@click.argument("group")
@click.option(
    "--direction",
    type=click.Choice(["up", "down", "both"]),
    default="up",
    show_default=True,
    help="Up: what it depends on. Down: what depends on it.",
)
@click.option("--depth", type=int, default=100, show_default=True, help="How many links away at most.")
@as_of_a_moment
@by_the_page
def dependencies(
    invocation: Invocation, group: str, direction: Any, depth: int, moment: "Moment", page: "Paging"
) -> None:
    """List everything that a group depends on, over any number of links, the nearest first."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.dependencies(group, moment, page, direction=direction, depth=depth)

    found = invocation.run(work)
    invocation.answer_page(
        found,
        ["direction", "depth", "group", "id"],
        lambda item: [item["direction"], item["depth"], written(item), item["group_id"]],
        nothing="No dependencies.",
    )
    if found["truncated"] and not invocation.as_json:
        click.echo(f"There are more beyond {depth} links; give a larger --depth.", err=True)


def _answer_links(invocation: Invocation, page: dict[str, Any]) -> None:
    invocation.answer_page(
        page,
        ["link", "position", "group", "id"],
        lambda item: [item["link_type"], item["position"], written(item), item["group_id"]],
        nothing="No links.",
    )


def written(item: dict[str, Any]) -> str:
    """A group as people write it."""
    return f"{item['group_type']}/{item['name']}" if item["name"] is not None else "(not created)"
