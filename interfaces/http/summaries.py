"""Summaries: texts in, one summary for each out."""

from typing import Annotated

from litestar import Router, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from application.batches import MOST_IN_FLIGHT
from application.summarise_texts import MOST_TEXTS_OF_A_LIST, SUMMARIES_IN_FLIGHT, TextsToSummarise
from interfaces.http.calls import GroupBody
from interfaces.http.parameters import Name, OpenStudy, RequestContext
from interfaces.http.problems import problem_responses
from interfaces.summaries_document import SummariesAnswer, summaries_answer

MOST_ITEMS = 10_000

Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[list[Text], Meta(min_length=1, max_length=MOST_TEXTS_OF_A_LIST)]


class SummariesBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to summarise: texts, or lists of texts that belong together, the most representative first."""

    texts: Annotated[list[Text | Texts], Meta(min_length=1, max_length=MOST_ITEMS)]
    provider: Name | None = None
    model: Name | None = None
    template: Annotated[str | None, Meta(description="What each item is put into, at {texts}.")] = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    group: Annotated[
        GroupBody | None,
        Meta(description="Of type summarization_batch: the batch's own, which is asked again; another is joined."),
    ] = None
    in_flight: Annotated[int, Meta(ge=1, le=MOST_IN_FLIGHT, description="How many to ask at a time.")] = (
        SUMMARIES_IN_FLIGHT
    )
    again: Annotated[bool, Meta(description="Ask also for what this batch was answered before.")] = False


EXAMPLE = {"texts": ["The night train to Rome was late again.", ["bake a cake", "bake bread"]], "provider": "local"}


@post("/summaries", summary="Summarise texts", status_code=200, responses=problem_responses(400, 413, 503))
async def summarise(
    data: Annotated[SummariesBody, Body(title="What to summarise", examples=[Example(value=EXAMPLE)])],
    study: OpenStudy,
    context: RequestContext,
) -> SummariesAnswer:
    """Summarise each item by a call of its own, a few at a time, and answer once all are done.

    Where a call fails, or the model answers nothing or refuses, the item's first text stands in and the item says so.
    The same request again pays only for what has no answer yet. Its calls form a group of type `summarization_batch`.
    """
    wanted = TextsToSummarise(
        lists=tuple((each,) if isinstance(each, str) else tuple(each) for each in data.texts),
        provider=data.provider,
        model=data.model,
        template=data.template,
        temperature=data.temperature,
        max_tokens=data.max_tokens,
        group=None if data.group is None else data.group.place(),
        in_flight=data.in_flight,
        again=data.again,
    )
    return summaries_answer(await study.summaries.of_texts(wanted, context))


ROUTES = Router("/", route_handlers=[summarise], tags=["calls"])
