"""Batches: many questions in one request."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from litestar import Request, Response, Router, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from application.batches import MOST_IN_FLIGHT, BatchToAsk
from domain.errors import Rejected
from interfaces.answer_document import item_document
from interfaces.batch_document import BatchAnswer, batch_document, batch_summary
from interfaces.http.call_stream import OperationThatStreams, in_events
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
    stream: Annotated[bool, Meta(description="Send each item as it is done, as server-sent events.")] = False


EXAMPLE = {"questions": [{"prompt": "Name three primes.", "provider": "local"}, {"prompt": "And three squares."}]}


EVENTS = """
With `stream: true`: events named `item`, each with an item as it is done, in whatever order; then `batch`, what is told
without streaming but for the items, once all is durable; then `[DONE]`. What is refused is a problem with its status;
what ends the batch later is an event `error` that holds the problem, and no `[DONE]` follows. Whoever leaves cancels
the calls under way; what was answered is kept, and the same batch goes on from there.
""".strip()
EVENTS_EXAMPLE = {
    "item": '{"index":1,"sample":0,"call_id":"0195512a-7c00-7000-8000-000000000001","text":"1, 4 and 9."}',
    "batch": '{"group_id":"0195512a-7c00-7000-8000-000000000002","name":"3f2a0c1b9d8e7f60","unanswered":0}',
}


@dataclass
class BatchOperation(OperationThatStreams):
    """The documentation of a batch, in one piece and in events."""

    status: ClassVar[str] = "200"
    description_of_events: ClassVar[str] = EVENTS
    example_of_events: ClassVar[dict[str, str]] = EVENTS_EXAMPLE


@post(
    "/batches",
    summary="Ask many questions",
    status_code=200,
    responses=problem_responses(400, 413, 503),
    response_description="What came of each question, once all are done; with stream, events.",
    operation_class=BatchOperation,
)
async def ask_batch(
    data: Annotated[BatchBody, Body(title="What to ask", examples=[Example(value=EXAMPLE)])],
    request: Request[Any, Any, Any],
    study: OpenStudy,
    context: RequestContext,
) -> Response[BatchAnswer]:
    """Ask all of them, a few at a time, and answer once all are done, or with each as it is done.

    A failure stands in its question's place. The same batch asked again pays only for what has no answer yet. Its calls
    form a group of type `batch`.
    """
    for index, question in enumerate(data.questions):
        if question.stream:
            raise Rejected(
                "An answer of a batch can't be streamed; stream the batch, which sends each item when it is done",
                fields=(f"questions[{index}].stream",),
            )
    batch = BatchToAsk(
        questions=tuple(question.question() for question in data.questions),
        name=data.name,
        in_flight=data.in_flight,
        again=data.again,
    )
    if data.stream:
        return await in_events(
            study.asking.stream_batch(batch, context),
            request,
            of_piece=lambda item: ("item", item_document(item)),
            of_whole=lambda answered: ("batch", batch_summary(answered)),
        )
    return Response(batch_document(await study.asking.batch(batch, context)))


ROUTES = Router("/", route_handlers=[ask_batch], tags=["calls"])
