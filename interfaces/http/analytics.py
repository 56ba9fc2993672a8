"""Many calls at once: sums, comparisons, and what happened over time."""

from typing import Annotated, Literal

from litestar import Router, get
from litestar.params import QueryParameter

from interfaces.http.call_filter import WANTED, Filter
from interfaces.http.parameters import At, Json, OpenStudy, Page
from interfaces.http.problems import problem_responses


@get("/summary", summary="Add up all calls", responses=problem_responses(400, 503))
async def summarise_calls(study: OpenStudy, wanted: Filter, moment: At) -> Json:
    """How many calls, what became of them, tokens, times in milliseconds, costs in USD.

    Counts, sums and means are exact, percentiles within 1 %. `success_rate` is of those that succeeded or failed.
    `cost` and `saved` are what is known of them; `cost_unknown` and `saved_unknown` say for how many calls nothing is.
    `joined` and `cached` were answered from another call. What a group saved isn't known: null.
    """
    return await study.analytics.summary(wanted, moment)


@get("/providers", summary="Compare models", responses=problem_responses(400, 503))
async def compare_providers(study: OpenStudy, wanted: Filter, moment: At) -> Json:
    """The same as the summary, of each model of each provider; the one with the most calls first, 1,000 at most."""
    return await study.analytics.providers(wanted, moment)


@get("/timeseries", summary="See calls over time", responses=problem_responses(400, 503))
async def see_over_time(
    study: OpenStudy,
    wanted: Filter,
    moment: At,
    bucket: Annotated[Literal["minute", "hour", "day"], QueryParameter(description="How long each is.")] = "hour",
    timezone: Annotated[
        str, QueryParameter(max_length=100, description="Whose hours and days: an IANA name such as Europe/Berlin.")
    ] = "UTC",
    by: Annotated[Literal["provider", "model"], QueryParameter(description="What is told apart.")] = "provider",
    fill: Annotated[bool, QueryParameter(description="Also buckets in which there was nothing.")] = False,
    detail: Annotated[bool, QueryParameter(description="Percentiles too, every outcome, kinds of tokens.")] = False,
) -> Json:
    """An item for each minute, hour or day and each provider, the oldest first; `at` is when it begins, in the zone.

    A day has 23 or 25 hours when clocks are changed. Without `until` it ends with the newest call; without `since`
    it has 3 hours of minutes, 7 days of hours, or 90 days. At most 10,000 buckets and 20,000 items.
    """
    return await study.analytics.series(
        wanted, moment, bucket=bucket, timezone=timezone, by=by, fill=fill, detail=detail
    )


@get("/errors", summary="See what went wrong", responses=problem_responses(400, 503))
async def see_errors(study: OpenStudy, wanted: Filter, moment: At) -> Json:
    """By kind and model, the most frequent first, 1,000 at most.

    `attempts` failed so, also those of calls that succeeded in the end; `calls` failed so for good.
    """
    return await study.analytics.errors(wanted, moment)


@get("/recent", summary="See the newest calls", responses=problem_responses(400, 503))
async def see_recent(study: OpenStudy, wanted: Filter, moment: At, page: Page) -> Json:
    """The calls themselves, newest first."""
    return await study.analytics.recent(wanted, moment, page)


ROUTES = Router(
    "/analytics",
    route_handlers=[summarise_calls, compare_providers, see_over_time, see_errors, see_recent],
    dependencies=WANTED,
    tags=["analytics"],
)
