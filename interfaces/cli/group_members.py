"""Who is in a group, from the command line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from domain.groups import Member
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging


def add_to(group: click.Group) -> None:
    """Add the commands."""
    study_command(
        group,
        "add",
        examples="study group add experiment/march 0195512a-7c00-7000-8000-000000000001 --role output\n"
        "study group add experiment/march --file members.csv",
    )(add)
    study_command(group, "remove", examples="study group remove experiment/march 0195512a-7c00-7000-8000-000000000001")(
        remove
    )
    study_command(group, "members", examples="study group members experiment/march --role output")(members)


@click.argument("group")
@click.argument("call_ids", metavar="[CALL_ID]...", nargs=-1)
@click.option("--role", help="What they are in the group: input, output, intermediate …")
@click.option("--position", type=int, help="Place of the first one; the others follow.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="CSV or JSON Lines with call_id, role and position, or one id a line; - reads lines from standard input.",
)
def add(
    invocation: Invocation,
    group: str,
    call_ids: tuple[str, ...],
    role: str | None,
    position: int | None,
    file: Path | None,
) -> None:
    """Add calls to a group, all or none. Who is a member already stays as it is."""
    wanted = _members(call_ids, file, role, position)

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.add(group, wanted, study.context())

    _answer_members(invocation, group, work)


@click.argument("group")
@click.argument("call_ids", metavar="[CALL_ID]...", nargs=-1)
@click.option("--file", type=click.Path(path_type=Path, allow_dash=True), help="One id a line, or a table; see add.")
def remove(invocation: Invocation, group: str, call_ids: tuple[str, ...], file: Path | None) -> None:
    """Take calls out of a group, all or none. As of a moment before, they are still in it."""
    wanted = [member.call_id for member in _members(call_ids, file, None, None)]

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.remove(group, wanted, study.context())

    _answer_members(invocation, group, work)


@click.argument("group")
@click.option("--role", help="Only members in this role.")
@as_of_a_moment
@by_the_page
def members(invocation: Invocation, group: str, role: str | None, moment: "Moment", page: "Paging") -> None:
    """List a group's calls: by their position, then as they were added."""

    async def work(study: "Study") -> dict[str, Any]:
        return await study.groups.members(group, moment, page, role=role)

    invocation.answer_page(
        invocation.run(work),
        ["position", "call", "role", "added (UTC)"],
        lambda item: [item["position"], item["call_id"], item["role"], item["added_at"][:19]],
        nothing="No members.",
    )


def _members(call_ids: tuple[str, ...], file: Path | None, role: str | None, position: int | None) -> "list[Member]":
    """The calls that are named as words and in a file. Raises Rejected naming what is no id."""
    from domain.errors import Rejected
    from domain.groups import Member

    rows = [{"call_id": call_id} for call_id in call_ids] + ([] if file is None else _rows(file))
    if not rows:
        raise Rejected("Name at least one call, or give --file", fields=("call_ids", "file"))
    return [
        Member(
            call_id=_call_id(row.get("call_id")),
            role=row.get("role") or role,
            position=_number(row["position"]) if row.get("position") else _following(position, number),
        )
        for number, row in enumerate(rows)
    ]


def _rows(file: Path) -> list[dict[str, Any]]:
    from domain.errors import Rejected
    from infrastructure.table_files import LINES_COLUMN, read_table, table_of

    table = table_of(sys.stdin.buffer.read(), "-") if str(file) == "-" else read_table(file)
    columns = table.columns
    if "call_id" not in columns and list(columns) == [LINES_COLUMN]:
        columns = {"call_id": columns[LINES_COLUMN]}
    if "call_id" not in columns:
        raise Rejected(f"{file} has no column call_id; it has {', '.join(columns)}", fields=("file",))
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [row for row in rows if any(row.values())]


def _call_id(text: str | None) -> "UUID":
    from uuid import UUID

    from domain.errors import Rejected

    try:
        return UUID((text or "").strip())
    except ValueError:
        raise Rejected(f"{(text or '')[:60]!r} is no id of a call", fields=("call_ids",)) from None


def _number(text: str) -> int:
    from domain.errors import Rejected

    try:
        return int(text)
    except ValueError:
        raise Rejected(f"A position is a number, not {text[:40]!r}", fields=("position",)) from None


def _following(position: int | None, number: int) -> int | None:
    return None if position is None else position + number


def _answer_members(invocation: Invocation, group: str, work: "Callable[[Study], Awaitable[dict[str, Any]]]") -> None:
    found = invocation.run(work)
    invocation.answer(found, lambda _console: click.echo(f"{group} has {found['member_count']:,} members."))
