"""Conversations: begin them, say something, fork and close them, look at them."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, Router, delete, get, post
from litestar.openapi.spec import Example, Operation, RequestBody
from litestar.params import Body, FromPath, FromQuery
from msgspec import Meta, Struct

from application.continue_conversation import Message
from application.keep_conversation import Begun, NewConversation
from domain.conversations import LONGEST_TITLE_CHARACTERS, MOST_MESSAGE_CHARACTERS, MOST_TOKENS, ConversationSettings
from domain.preprocessing import parse_steps
from interfaces.http.call_stream import OperationThatStreams, streamed
from interfaces.http.calls import GroupBody, Steps, Template
from interfaces.http.parameters import At, Json, Name, OpenStudy, Page, RequestContext
from interfaces.http.problems import problem_responses
from interfaces.turn_document import TurnAnswer, turn_document

Temperature = Annotated[float, Meta(ge=0, le=2)]
Tokens = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Budget = Annotated[
    int,
    Meta(
        ge=1,
        le=MOST_TOKENS,
        description="The most tokens of messages to send: the oldest turns are left out, and the answer says which.",
    ),
]


class ConversationBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every turn that doesn't say otherwise."""

    conversation_id: UUID | None = None
    system: Annotated[str, Meta(max_length=MOST_MESSAGE_CHARACTERS)] | None = None
    provider: Name | None = None
    model: Name | None = None
    temperature: Temperature | None = None
    max_tokens: Tokens | None = None
    seed: int | None = None
    token_budget: Budget | None = None
    title: Annotated[str, Meta(min_length=1, max_length=LONGEST_TITLE_CHARACTERS)] | None = None
    metadata: dict[str, Any] = {}

    def wanted(self) -> NewConversation:
        """As the use case takes it."""
        return NewConversation(
            conversation_id=self.conversation_id,
            settings=ConversationSettings(
                system=self.system,
                provider=self.provider,
                model=self.model,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
                seed=self.seed,
                token_budget=self.token_budget,
            ),
            title=self.title,
            metadata=self.metadata,
        )


class MessageBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say. Options that are not given are the conversation's."""

    content: Annotated[str, Meta(min_length=1, max_length=MOST_MESSAGE_CHARACTERS)]
    provider: Name | None = None
    model: Name | None = None
    temperature: Temperature | None = None
    max_tokens: Tokens | None = None
    seed: int | None = None
    token_budget: Budget | None = None
    group: GroupBody | None = None
    metadata: dict[str, Any] = {}
    template: Template = None
    fields: dict[str, str] = {}
    preprocess: Steps = []
    stream: Annotated[bool, Meta(description="Send the answer while it comes, as server-sent events.")] = False

    def message(self) -> Message:
        """As the use case takes it."""
        return Message(
            content=self.content,
            provider=self.provider,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
            token_budget=self.token_budget,
            group=None if self.group is None else self.group.place(),
            metadata=self.metadata,
            preprocessing=parse_steps(self.preprocess, template=self.template, fields=self.fields),
        )


class ForkBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to fork."""

    at: Annotated[int, Meta(ge=0, description="The turn to go on after: 0 is the beginning.")] | None = None
    conversation_id: UUID | None = None


class ConversationBegun(Struct, frozen=True, kw_only=True):
    """A conversation that began, durably, at `position`."""

    conversation_id: UUID
    parent_id: UUID | None
    at_turn: int
    position: int


class ConversationEnded(Struct, frozen=True, kw_only=True):
    """A conversation that is closed, durably, since `position`."""

    conversation_id: str
    status: str
    position: int


@dataclass
class OperationWithOptionalBody(Operation):
    """The documentation of a route whose body may be left away."""

    def __post_init__(self) -> None:
        """Say so, which Litestar does not."""
        if isinstance(self.request_body, RequestBody):
            self.request_body.required = False


@post(
    "/conversations",
    summary="Begin a conversation",
    responses=problem_responses(400, 409, 413, 503),
    response_description="The conversation's id.",
)
async def start_conversation(
    data: Annotated[ConversationBody, Body(examples=[Example(value={"system": "Be brief.", "provider": "local"})])],
    study: OpenStudy,
    context: RequestContext,
) -> Response[ConversationBegun]:
    """Begin a conversation, under an id of your own if you give one."""
    return _begun(await study.conversations.start(data.wanted(), context))


@get("/conversations", summary="List conversations", responses=problem_responses(400, 503))
async def list_conversations(
    study: OpenStudy,
    moment: At,
    page: Page,
    status: FromQuery[Literal["open", "closed"] | None] = None,
) -> Json:
    """Conversations, newest first; `turns` counts what a fork has from its parents too."""
    return await study.conversations.list(moment, page, status=status)


@get(
    "/conversations/{conversation_id:str}",
    summary="Look at a conversation",
    responses=problem_responses(400, 404, 503),
)
async def get_conversation(study: OpenStudy, moment: At, conversation_id: FromPath[str]) -> Json:
    """One conversation: its `messages`, of which there are `history_length`, and each turn in `history`."""
    return await study.conversations.get(conversation_id, moment)


@post(
    "/conversations/{conversation_id:str}/messages",
    summary="Say something",
    responses=problem_responses(400, 404, 409, 413, 502, 503),
    response_description="The turn, once it is durable; with stream, events.",
    operation_class=OperationThatStreams,
)
async def say(
    data: Annotated[MessageBody, Body(examples=[Example(value={"content": "Name three primes."})])],
    conversation_id: FromPath[str],
    request: Request[Any, Any, Any],
    study: OpenStudy,
    context: RequestContext,
) -> Response[TurnAnswer]:
    """Say something, and get the answer, or its text while it comes.

    A conversation answers one message at a time: another one meanwhile is a 409 at once, and asks no provider.
    """
    if data.stream:
        stream = study.conversations.stream(conversation_id, data.message(), context)
        return await streamed(stream, request, turn_document)
    turn = turn_document(await study.conversations.say(conversation_id, data.message(), context))
    return Response(turn, headers={"Location": f"/api/conversations/{turn.conversation_id}"})


@post(
    "/conversations/{conversation_id:str}/fork",
    summary="Fork a conversation",
    responses=problem_responses(400, 404, 409, 503),
    response_description="The new conversation's id.",
    operation_class=OperationWithOptionalBody,
)
async def fork_conversation(
    conversation_id: FromPath[str],
    study: OpenStudy,
    context: RequestContext,
    data: Annotated[ForkBody | None, Body(examples=[Example(value={"at": 1})])] = None,
) -> Response[ConversationBegun]:
    """Begin another conversation with this one's history up to a turn, or all of it. Closed ones can be forked too."""
    where = data or ForkBody()
    begun = await study.conversations.fork(conversation_id, context, at=where.at, fork_id=where.conversation_id)
    return _begun(begun)


@delete(
    "/conversations/{conversation_id:str}",
    summary="Close a conversation",
    status_code=200,
    responses=problem_responses(400, 404, 503),
    response_description="Since when it is closed.",
)
async def close_conversation(
    conversation_id: FromPath[str], study: OpenStudy, context: RequestContext
) -> ConversationEnded:
    """Take no more messages. Nothing is erased, and closing again changes nothing."""
    position = await study.conversations.close(conversation_id, context)
    return ConversationEnded(conversation_id=conversation_id, status="closed", position=position)


def _begun(begun: Begun) -> Response[ConversationBegun]:
    content = ConversationBegun(
        conversation_id=begun.conversation_id,
        parent_id=begun.parent_id,
        at_turn=begun.at_turn,
        position=begun.position,
    )
    return Response(content, headers={"Location": f"/api/conversations/{begun.conversation_id}"})


ROUTES = Router(
    "/",
    route_handlers=[
        start_conversation,
        list_conversations,
        get_conversation,
        say,
        fork_conversation,
        close_conversation,
    ],
    tags=["conversations"],
)
