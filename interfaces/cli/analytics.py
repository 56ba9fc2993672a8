"""Many calls at once, in the terminal."""

from typing import TYPE_CHECKING, Any

import click

from interfaces.cli.call_filter import filtered
from interfaces.cli.command import Invocation, as_of_a_moment, by_the_page, study_command

if TYPE_CHECKING:
    from interfaces.as_of import Moment
    from interfaces.study import Study
    from projections.paging import Paging

Json = dict[str, Any]


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def analytics() -> None:
        """Calls added up: how many, how fast, how many tokens, how much, and what went wrong.

        Counts, sums and means are exact; percentiles are within 1 %. Costs that are not known are counted apart.
        """

    study_command(
        analytics, "summary", examples="study analytics summary\nstudy analytics summary --group batch/evening --json"
    )(summary)
    study_command(
        analytics,
        "providers",
        examples="study analytics providers --since 2026-03-01\n"
        "study analytics providers --modality text --as-of 2026-03-01T12:00:00Z",
    )(providers)
    study_command(
        analytics,
        "timeseries",
        examples="study analytics timeseries --bucket day --timezone Europe/Berlin --since 2026-03-01\n"
        "study analytics timeseries --bucket minute --by model --json",
    )(timeseries)
    study_command(
        analytics,
        "errors",
        examples="study analytics errors --since 2026-03-01\nstudy analytics errors --provider azure",
    )(errors)
    study_command(
        analytics, "recent", examples="study analytics recent --limit 5\nstudy analytics recent --status failed"
    )(recent)


@filtered
@as_of_a_moment
def summary(invocation: Invocation, moment: "Moment", **filters: Any) -> None:
    """Add up all calls."""
    from interfaces.cli.analytics_tables import STATES, given_rows, money, percent, times
    from interfaces.cli.tables import table
    from interfaces.study.analytics import analytics_wanted

    async def work(study: "Study") -> Json:
        return await study.analytics.summary(analytics_wanted(**filters), moment)

    found = invocation.run(work)
    ended = [f"{found[name]:,} {name.replace('_', ' ')}" for name in STATES if found[name]]
    tokens = found["tokens"]
    rows: list[list[Any]] = [
        ["calls", f"{found['calls']:,}" + (f": {', '.join(ended)}" if ended else "")],
        ["success rate", percent(found["success_rate"])],
        ["attempts a call", found["attempts_per_call"]],
        ["providers", ", ".join(found["providers"]) or None],
        ["models", ", ".join(found["models"]) or None],
        ["tokens", f"{tokens['total']:,}: {tokens['prompt']:,} prompt, {tokens['completion']:,} completion"],
        ["of the prompts, cached", f"{tokens['cached']:,}"],
        *([name, times(found[key])] for name, key in (("ms", "latency_ms"), ("ms to first token", "first_token_ms"))),
        ["cost", money(found["cost"], found["cost_unknown"])],
        *given_rows(found),
    ]
    invocation.answer(found, lambda console: console.print(table(["", ""], rows)))


@filtered
@as_of_a_moment
def providers(invocation: Invocation, moment: "Moment", **filters: Any) -> None:
    """Compare the models of all providers."""
    from interfaces.cli.analytics_tables import money, percent, whole
    from interfaces.study.analytics import analytics_wanted

    async def work(study: "Study") -> Json:
        return await study.analytics.providers(analytics_wanted(**filters), moment)

    invocation.answer_page(
        invocation.run(work),
        ["model", "calls", "success", "attempts", "ms", "p50", "p95", "p99", "1st token", "tokens", "USD", "saved"],
        lambda each: [
            f"{each['provider']}/{each['model']}",
            each["count"],
            percent(each["success_rate"]),
            None if each["attempts_per_call"] is None else round(each["attempts_per_call"], 2),
            *(whole(each["latency_ms"][name]) for name in ("mean", "p50", "p95", "p99")),
            whole(each["first_token_ms"]["p50"]),
            each["tokens_total"],
            money(each["cost"], each["cost_unknown"]),
            money(each["saved"], each["saved_unknown"]),
        ],
        nothing="No calls.",
    )


@filtered
@click.option(
    "--bucket",
    type=click.Choice(["minute", "hour", "day"]),
    default="hour",
    show_default=True,
    help="How long each is.",
)
@click.option(
    "--timezone",
    default="UTC",
    show_default=True,
    metavar="TZ",
    help="Whose hours and days: Europe/Berlin, Asia/Kolkata …",
)
@click.option(
    "--by", type=click.Choice(["provider", "model"]), default="provider", show_default=True, help="What is told apart."
)
@click.option("--detail", is_flag=True, help="Percentiles too, and every outcome; in --json also kinds of tokens.")
@click.option("--fill", is_flag=True, help="Also buckets in which there was nothing.")
@as_of_a_moment
def timeseries(
    invocation: Invocation,
    moment: "Moment",
    bucket: str,
    timezone: str,
    by: str,
    detail: bool,
    fill: bool,
    **filters: Any,
) -> None:
    """Show what was asked over time: up to the newest call, unless --since and --until say otherwise."""
    from interfaces.cli.analytics_tables import show_series
    from interfaces.study.analytics import analytics_wanted

    async def work(study: "Study") -> Json:
        return await study.analytics.timeseries(
            analytics_wanted(**filters),
            moment,
            bucket=bucket,
            timezone=timezone,
            by=by,
            detail=detail,
            fill=fill or not invocation.as_json,
        )

    found = invocation.run(work)
    invocation.answer(found, lambda console: show_series(console, found, by))


@filtered
@as_of_a_moment
def errors(invocation: Invocation, moment: "Moment", **filters: Any) -> None:
    """Show what went wrong, the most frequent first."""
    from interfaces.study.analytics import analytics_wanted

    async def work(study: "Study") -> Json:
        return await study.analytics.errors(analytics_wanted(**filters), moment)

    invocation.answer_page(
        invocation.run(work),
        ["kind", "model", "attempts", "calls", "last (UTC)"],
        lambda each: [
            each["kind"],
            f"{each['provider']}/{each['model']}",
            each["attempts"],
            each["calls"],
            each["last_at"][:19].replace("T", " "),
        ],
        nothing="Nothing went wrong.",
    )


@filtered
@as_of_a_moment
@by_the_page
def recent(invocation: Invocation, moment: "Moment", page: "Paging", **filters: Any) -> None:
    """List the newest calls."""
    from interfaces.cli.analytics_tables import whole
    from interfaces.cli.tables import short
    from interfaces.study.analytics import analytics_wanted

    async def work(study: "Study") -> Json:
        return await study.analytics.recent(analytics_wanted(**filters), moment, page)

    invocation.answer_page(
        invocation.run(work),
        ["at (UTC)", "model", "status", "ms", "tokens", "USD", "error"],
        lambda call: [
            call["created_at"][:19].replace("T", " "),
            f"{call['provider']}/{call['model']}",
            call["status"],
            whole(call["latency_ms"]),
            (call["tokens"] or {}).get("total"),
            call["cost"],
            short((call["error"] or {}).get("message"), 40),
        ],
        nothing="No calls.",
    )
