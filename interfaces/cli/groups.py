"""Groups from the command line."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli import group_links, group_members
from interfaces.cli.command import (
    Invocation,
    as_of_a_moment,
    by_the_page,
    json_object,
    study_command,
)
from interfaces.cli.group_links import written

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def group() -> None:
        """Calls that belong together, and how such groups hang together.

        A GROUP is written TYPE/NAME, or by its id. Types are dataset, embedding_batch, run, step, metrics,
        summarization_batch, experiment, batch, label, or any word of yours.
        """

    study_command(
        group, "create", examples='study group create experiment march --metadata \'{"algorithm": "k-means"}\''
    )(create)
    study_command(group, "describe", examples="study group describe experiment/march --description 'The first try'")(
        describe
    )
    study_command(group, "list", examples="study group list --type run")(list_all)
    study_command(group, "show", examples="study group show experiment/march --as-of 2026-03-01")(show)
    group_members.add_to(group)
    group_links.add_to(group)


@click.argument("group_type", metavar="TYPE")
@click.argument("name")
@click.option("--description", default="", help="What it is about.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="What else is to be known, a JSON object.")
def create(
    invocation: Invocation, group_type: str, name: str, description: str, metadata: dict[str, Any] | None
) -> None:
    """Create a group. TYPE and NAME together are unique."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.create(group_type, name, study.context(), description=description, metadata=metadata)

    made = invocation.run(work)
    invocation.answer(made, lambda _console: click.echo(f"Created {group_type}/{name}, {made['group_id']}."))


@click.argument("group")
@click.option("--description", help="The new description.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="Keys to set; a key with null is taken out.")
def describe(invocation: Invocation, group: str, description: str | None, metadata: dict[str, Any] | None) -> None:
    """Change a group's description, or some of its metadata. The past stays as it was."""
    from domain.errors import Rejected

    if description is None and metadata is None:
        raise Rejected("Give --description or --metadata", fields=("description", "metadata"))

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.describe(group, study.context(), description=description, metadata=metadata)

    found = invocation.run(work)
    invocation.answer(found, lambda console: console.print(_group_table(found)))


@click.option("--type", "group_type", help="Only groups of this type.")
@as_of_a_moment
@by_the_page
def list_all(invocation: Invocation, group_type: str | None, moment: "Moment", page: "Paging") -> None:
    """List the groups, newest first."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.list(moment, page, group_type=group_type)

    invocation.answer_page(
        invocation.run(work),
        ["group", "description", "created (UTC)", "id"],
        lambda item: [
            f"{item['group_type']}/{item['name']}",
            item["description"],
            item["created_at"][:19],
            item["group_id"],
        ],
        nothing="No groups.",
    )


@click.argument("group")
@as_of_a_moment
def show(invocation: Invocation, group: str, moment: "Moment") -> None:
    """Show a group: what it is, how many calls are in it, and its nearest relatives."""

    async def work(study: "Study") -> dict[str, Any]:
        found = await study.groups.get(group, moment)
        group_id = found["group_id"]
        around = {
            "children": await study.groups.children(group_id, moment),
            "parents": await study.groups.parents(group_id, moment),
        }
        return {**found, **{side: page["items"] for side, page in around.items()}}

    found = invocation.run(work)
    invocation.answer(found, lambda console: console.print(_group_table(found)))


def _group_table(found: dict[str, Any]) -> Any:
    from interfaces.cli.tables import table

    around = {
        side: "\n".join(f"{item['link_type']} {written(item)}" for item in found.get(side, []))
        for side in ("children", "parents")
    }
    shown = {name: value for name, value in {**found, **around}.items() if value not in (None, {}, "")}
    return table(
        ["group", f"{found['group_type']}/{found['name']}"], [[key, str(value)] for key, value in shown.items()]
    )
