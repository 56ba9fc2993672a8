"""Calls: make them, list them, look at one."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, Router, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta, Struct, structs, to_builtins

from application.ask_model import LONGEST_CALL_SECONDS, MOST_PROMPT_CHARACTERS, MOST_SAMPLES, Question
from application.group_calls import GroupPlace
from domain.preprocessing import parse_steps
from interfaces.answer_document import CallAnswer, answer_document, outcome_document
from interfaces.duration import seconds_of
from interfaces.http.call_filter import WANTED, Filter, Match, Part, Words
from interfaces.http.call_stream import OperationThatStreams, streamed
from interfaces.http.parameters import At, Json, Name, OpenStudy, Page, RequestContext
from interfaces.http.problems import problem_responses
from interfaces.study.calls import calls_wanted

MOST_MESSAGES = 10_000

Template = Annotated[
    str | None, Meta(description="What the prompt is put into: {user_input}, and {name} for each of the fields.")
]
Steps = Annotated[
    list[str],
    Meta(
        description=(
            "control, whitespace, pii or pii:US, truncate:2000 (characters) or truncate:500t (tokens); "
            "they run in this order. What they change is recorded."
        )
    ),
]


class GroupBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The group that a call joins; it is created if it isn't there."""

    group_type: Name
    name: Name
    role: Name | None = None
    position: int | None = None

    def place(self) -> GroupPlace:
        """As use cases take it."""
        return GroupPlace(group_type=self.group_type, name=self.name, role=self.role, position=self.position)


class CallBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to ask: a prompt or messages. No parameter is sent to the provider that is not given here."""

    prompt: Annotated[str, Meta(min_length=1, max_length=MOST_PROMPT_CHARACTERS)] | None = None
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MOST_MESSAGES)] | None = None
    system: str | None = None
    provider: Name | None = None
    model: Name | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    n: Annotated[int, Meta(ge=1, le=MOST_SAMPLES, description="How many answers; each is a call of its own.")] = 1
    group: GroupBody | None = None
    metadata: dict[str, Any] = {}
    attempts: Annotated[int, Meta(ge=1, le=20)] | None = None
    attempt_timeout_s: Annotated[float, Meta(gt=0, le=LONGEST_CALL_SECONDS)] | None = None
    call_timeout_s: (
        Annotated[
            float, Meta(gt=0, le=LONGEST_CALL_SECONDS, description="For all attempts and the waits between them.")
        ]
        | None
    ) = None
    share: Annotated[
        bool, Meta(description="Wait for the same request that is under way, instead of calling once more.")
    ] = True
    cache: Annotated[
        float | str | None,
        Meta(
            description=(
                "Take an answer that the same request got within this time: seconds, or 10m, 1h, 7d. "
                "Needs temperature 0 or a seed."
            )
        ),
    ] = None
    template: Template = None
    fields: dict[str, str] = {}
    preprocess: Steps = []
    stream: Annotated[bool, Meta(description="Send the answer while it comes, as server-sent events; n must be 1.")] = (
        False
    )

    def question(self) -> Question:
        """As the use case takes it."""
        return Question(
            prompt=self.prompt,
            messages=tuple(self.messages or ()),
            system=self.system,
            provider=self.provider,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
            samples=self.n,
            group=None if self.group is None else self.group.place(),
            metadata=self.metadata,
            attempts=self.attempts,
            attempt_timeout_seconds=self.attempt_timeout_s,
            call_timeout_seconds=self.call_timeout_s,
            preprocessing=parse_steps(self.preprocess, template=self.template, fields=self.fields),
            share=self.share,
            cache_seconds=None if self.cache is None else seconds_of(self.cache, "cache"),
        )


class CallAnswers(Struct, frozen=True, kw_only=True):
    """What came of several samples, in order: an answer, or {call_id, status, text: null, error} in its place."""

    items: list[Json]


class CallPage(Struct, frozen=True, kw_only=True):
    """Calls, newest first."""

    items: list[Json]
    next_cursor: str | None


@post(
    "/calls",
    summary="Ask a model",
    responses=problem_responses(400, 413, 502, 503),
    response_description="The answer, once it is durable; with n > 1, {items: […]}; with stream, events.",
    operation_class=OperationThatStreams,
)
async def ask_model(
    data: Annotated[
        CallBody,
        Body(title="What to ask", examples=[Example(value={"prompt": "Name three primes.", "provider": "local"})]),
    ],
    request: Request[Any, Any, Any],
    study: OpenStudy,
    context: RequestContext,
) -> Response[CallAnswer | CallAnswers]:
    """Record the request, ask the provider, record the answer, and return it, or its text while it comes.

    A provider's final failure is a 502 that names the call under which it is recorded.
    """
    if data.stream:
        return await streamed(study.asking.stream(data.question(), context), request, answer_document)
    if data.n > 1:
        outcomes = await study.asking.samples(data.question(), context)
        return Response(CallAnswers(items=[to_builtins(outcome_document(outcome)) for outcome in outcomes]))
    answer = answer_document(await study.asking.ask(data.question(), context))
    return Response(answer, headers={"Location": f"/api/calls/{answer.call_id}"})


@get("/calls", summary="List calls", responses=problem_responses(400, 503))
async def list_calls(
    study: OpenStudy,
    wanted: Filter,
    moment: At,
    page: Page,
    q: Words = None,
    part: Part = None,
    match: Match = None,
    order: Annotated[
        Literal["newest", "rank"] | None,
        QueryParameter(description="What is searched for newest first, or the best of the 1,000 newest texts found."),
    ] = None,
) -> Json:
    """Calls, newest first, that pass every filter given.

    Of a search, each call says by what it was found, and `searched` how much of the log was.
    """
    asked = calls_wanted(**structs.asdict(wanted), search=q, part=part, match=match, order=order)
    return await study.calls.list(asked, moment, page)


@get("/calls/{call_id:str}", summary="Look at a call", responses=problem_responses(400, 404, 503))
async def get_call(study: OpenStudy, moment: At, call_id: FromPath[str]) -> Json:
    """One call with its request, its answer or error, and its attempts."""
    return await study.calls.get(call_id, moment)


@get("/calls/{call_id:str}/attempts", summary="List a call's attempts", responses=problem_responses(400, 404, 503))
async def list_attempts(study: OpenStudy, moment: At, call_id: FromPath[str]) -> Json:
    """Each attempt in order, with what went wrong and how long it took."""
    return await study.calls.attempts(call_id, moment)


@get("/calls/{call_id:str}/events", summary="Read a call's history", responses=problem_responses(400, 404, 503))
async def list_events(study: OpenStudy, call_id: FromPath[str]) -> Json:
    """Every event of a call, as it was recorded."""
    return await study.history.of("call", call_id)


ROUTES = Router(
    "/",
    route_handlers=[ask_model, list_calls, get_call, list_attempts, list_events],
    dependencies=WANTED,
    tags=["calls"],
)
