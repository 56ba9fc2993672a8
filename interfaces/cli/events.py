"""The log itself: events in order, as they come, or into a file; and calls that were never answered."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.command import Invocation, Stopped, as_of_a_moment, by_the_page, moment, study_command
from interfaces.cli.exports import written
from interfaces.cli.terminal import echo_text

if TYPE_CHECKING:
    from application.export_rows import Export
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging

Json = dict[str, Any]


def add_to(study: click.Group) -> None:
    """Add the commands."""
    study_command(
        study,
        "events",
        examples="study events --kind call --since 2026-03-01\n"
        "study events --entity 0195512a-7c00-7000-8000-000000000001\n"
        "study events --actor ada --event call.failed\n"
        "study events --follow --json | jq .event\n"
        "study events --out events.jsonl",
    )(events)
    study_command(study, "unanswered", examples="study unanswered\nstudy unanswered --as-of 2026-03-01 --json")(
        unanswered
    )


@click.option("--after", type=int, metavar="POSITION", help="Events behind this position of the log.")
@click.option("--kind", help="What they are about: call, group, dataset, vectors, sweep, artifact …")
@click.option("--event", help="Their name: call.answered, or call.answered.v1.")
@click.option("--entity", metavar="ID", help="The one thing they are about, members and links included.")
@click.option("--actor", help="On whose behalf they happened.")
@click.option("--process", help="Who wrote them.")
@click.option("--correlation", "correlation_id", type=click.UUID, metavar="ID", help="The command they belong to.")
@click.option("--since", callback=moment, metavar="WHEN", help="Recorded not before this time (UTC unless it says).")
@click.option("--until", callback=moment, metavar="WHEN", help="Recorded before this time.")
@as_of_a_moment
@by_the_page
@click.option("--follow", is_flag=True, help="Go on with what is recorded from now on, or behind --after.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write all of them there, one a line.")
def events(
    invocation: Invocation,
    follow: bool,
    out: Path | None,
    moment: "Moment",
    page: "Paging",
    after: int | None,
    **filters: Any,
) -> None:
    """Show what was recorded, in order: who, when, what.

    With --follow, --json is one JSON document a line. `study export events` writes other formats.
    """
    from domain.errors import Rejected

    if follow and (out or page.cursor or moment.as_of):
        raise Rejected(
            "--follow goes on with what is still to come: leave away --out, --cursor and --as-of", fields=("follow",)
        )
    if follow:
        _follow(invocation, after, filters)
        return
    if out is not None:
        _write(invocation, out, moment, after or 0, filters)
        return

    async def work(study: "Study") -> Json:
        return await _page(study, moment, page, {**filters, "after": after or 0})

    invocation.answer_page(
        invocation.run(work),
        ["position", "recorded (UTC)", "event", "about", "actor"],
        lambda event: [
            event["position"],
            event["recorded_at"][:23],
            event["event"],
            event["entity_id"],
            event["actor"],
        ],
        nothing="No events.",
    )


async def _page(study: "Study", moment: "Moment", page: "Paging", filters: Json) -> Json:
    """As many events as are wanted, however many looks at the log that takes."""
    from projections.paging import Paging

    items: list[Json] = []
    wanted = page
    while True:
        found = await study.audit.events(moment, wanted, **filters)
        items += found["items"]
        if len(items) >= page.limit or found["next_cursor"] is None:
            return {**found, "items": items}
        wanted = Paging(page.limit - len(items), found["next_cursor"])


def _follow(invocation: Invocation, after: int | None, filters: Json) -> None:
    from interfaces.study.live import filter_of
    from interfaces.study.words import id_of

    async def work(study: "Study") -> None:
        entity = filters.pop("entity")
        wanted = filter_of(entity=None if entity is None else id_of(entity), **filters)
        async for seen in study.live.follow(wanted, after=await study.live.start(after, wanted)):
            for event in seen.events:
                echo_text(event.json.decode() if invocation.as_json else _line(event.document))

    try:
        invocation.run(work)
    except Stopped:
        return  # there is no other way to end it


def _write(invocation: Invocation, out: Path, moment: "Moment", after: int, filters: Json) -> None:
    from interfaces.study.audit import events_wanted

    async def prepared(study: "Study") -> "Export[Any]":
        return await study.exports.events("jsonl", events_wanted(**filters), moment, after=after)

    written(invocation, prepared, str(out))


@as_of_a_moment
@by_the_page
def unanswered(invocation: Invocation, **options: Any) -> None:
    """List calls that were never answered: under way, in doubt, or cancelled before an answer came."""

    async def work(study: "Study") -> Json:
        return await study.audit.unanswered(**options)

    invocation.answer_page(
        invocation.run(work),
        ["call", "asked (UTC)", "status", "model", "age, s", "process"],
        lambda call: [
            call["call_id"],
            call["created_at"][:19],
            call["status"],
            f"{call['provider']}/{call['model']}",
            round(call["age_s"]),
            call["process"],
        ],
        nothing="Every call was answered.",
    )


def _line(event: Json) -> str:
    name, about = event["event"], event["entity_id"]
    return f"{event['position']:>10}  {event['recorded_at'][:23]}  {name:<26}  {about}  {event['actor']}"
