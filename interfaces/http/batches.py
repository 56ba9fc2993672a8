"""Batches: many questions in one request."""

from typing import Annotated, Any

from litestar import Router, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from application.batches import MOST_IN_FLIGHT, BatchToAsk
from domain.errors import Rejected
from interfaces.answer_document import item_document
from interfaces.http.calls import CallBody
from interfaces.http.parameters import OpenStudy, RequestContext
from interfaces.http.problems import problem_responses

MOST_QUESTIONS = 10_000


class BatchBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask. Each question is what `POST /api/calls` takes, but for `stream`."""

    questions: Annotated[list[CallBody], Meta(min_length=1, max_length=MOST_QUESTIONS)]
    name: (
        Annotated[
            str,
            Meta(min_length=1, max_length=300, description="Of the batch's group; made of the requests if left out."),
        ]
        | None
    ) = None
    in_flight: Annotated[int, Meta(ge=1, le=MOST_IN_FLIGHT, description="How many to ask at a time.")] = 16
    again: Annotated[bool, Meta(description="Ask also what this batch was answered before.")] = False


class BatchAnswer(Struct, frozen=True, kw_only=True):
    """What came of every sample of every question, in order.

    items: {index, sample} of the question, and the members of a call's answer; or its status and `error`
    """

    group_id: str
    name: str
    items: list[dict[str, Any]]
    unanswered: int
    position: int | None


EXAMPLE = {"questions": [{"prompt": "Name three primes.", "provider": "local"}, {"prompt": "And three squares."}]}


@post("/batches", summary="Ask many questions", status_code=200, responses=problem_responses(400, 413, 503))
async def ask_batch(
    data: Annotated[BatchBody, Body(title="What to ask", examples=[Example(value=EXAMPLE)])],
    study: OpenStudy,
    context: RequestContext,
) -> BatchAnswer:
    """Ask all of them, a few at a time, and answer once all are done; a failure stands in its question's place.

    The same batch asked again pays only for what has no answer yet. Its calls form a group of type `batch`.
    """
    for index, question in enumerate(data.questions):
        if question.stream:
            raise Rejected("The answers of a batch can't be streamed", fields=(f"questions[{index}].stream",))
    batch = BatchToAsk(
        questions=tuple(question.question() for question in data.questions),
        name=data.name,
        in_flight=data.in_flight,
        again=data.again,
    )
    answered = await study.asking.batch(batch, context)
    return BatchAnswer(
        group_id=str(answered.group_id),
        name=answered.name,
        items=[item_document(item) for item in answered.items],
        unanswered=len(answered.unanswered),
        position=answered.position,
    )


ROUTES = Router("/", route_handlers=[ask_batch], tags=["calls"])
