"""A conversation as it is held from Python, in an event loop or outside of one."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypedDict, Unpack
from uuid import UUID

from anyio.from_thread import BlockingPortal

from application.continue_conversation import Message, TakenTurn
from application.group_calls import group_place
from application.keep_conversation import NewConversation
from application.stream_answer import AnswerStream
from domain.conversations import ConversationSettings
from domain.errors import Rejected
from domain.preprocessing import parse_steps
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.study import Study as Wired
from interfaces.study.words import id_of
from study_query_llm.notebook.pages import conversation_page
from study_query_llm.text_stream import TextStream


class ConversationOptions(TypedDict, total=False):
    """What holds for all turns of a conversation, unless a message says otherwise."""

    system: str | None
    provider: str | None
    model: str | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    token_budget: int | None


class SayOptions(TypedDict, total=False):
    """What a message may say besides its text; what is not given is as the conversation has it."""

    provider: str | None
    model: str | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    token_budget: int | None
    group: str | None
    metadata: Mapping[str, Any] | None
    template: str | None
    fields: Mapping[str, str] | None
    preprocess: Sequence[str]


class AsyncConversation:
    """A conversation. It lives in the store, so that it can be gone on with from anywhere by its `conversation_id`."""

    def __init__(self, wired: Wired, conversation_id: UUID) -> None:
        self._wired = wired
        self.conversation_id = conversation_id

    async def say(self, content: str, **options: Unpack[SayOptions]) -> TakenTurn:
        """Say something and get the turn, with its `text` and `answer`, once it is durable.

        template, fields, preprocess: as for AsyncStudy.ask, of this message; the history keeps what comes of it
        Raises Rejected, ProviderFailed, Unavailable, and Conflict while another message is being answered.
        """
        return await self._wired.conversations.say(
            self.conversation_id, _message(content, options), self._wired.context()
        )

    def stream(self, content: str, **options: Unpack[SayOptions]) -> AnswerStream[str, TakenTurn]:
        """The same, with the answer's text as it comes; at the end of the pieces the stream's `answer` is the turn."""
        return self._wired.conversations.stream(self.conversation_id, _message(content, options), self._wired.context())

    async def fork(self, at: int | None = None) -> "AsyncConversation":
        """Another conversation with this one's history up to a turn, or all of it. Raises Rejected."""
        begun = await self._wired.conversations.fork(self.conversation_id, self._wired.context(), at=at)
        return AsyncConversation(self._wired, begun.conversation_id)

    async def close(self, reason: str = "") -> None:
        """Take no more messages; nothing is erased."""
        await self._wired.conversations.close(self.conversation_id, self._wired.context(), reason=reason)

    async def messages(self, *, as_of: AsOf | None = None) -> list[Json]:
        """What was said so far, a fork's history included: role, content, turn and call_id."""
        return list((await self.document(as_of=as_of))["messages"])

    async def document(self, *, as_of: AsOf | None = None) -> Json:
        """All that is known of it, with its own writes, as of a time or position. Raises NotFound."""
        await self._wired.moments.all_shown()
        return await self._wired.conversations.get(self.conversation_id, Moment(as_of))

    def __repr__(self) -> str:
        return f"<Conversation {self.conversation_id}>"


class Conversation:
    """See AsyncConversation; for ordinary code."""

    def __init__(self, portal: BlockingPortal, conversation: AsyncConversation) -> None:
        self._portal = portal
        self._conversation = conversation

    @property
    def conversation_id(self) -> UUID:
        """By which it is gone on with from anywhere."""
        return self._conversation.conversation_id

    @property
    def messages(self) -> list[Json]:
        """What was said so far, a fork's history included: role, content, turn and call_id."""
        return self._portal.call(self._conversation.messages)

    def say(self, content: str, **options: Any) -> TakenTurn:
        """See AsyncConversation.say."""
        return self._portal.call(partial(self._conversation.say, content, **options))

    def stream(self, content: str, **options: Any) -> TextStream[TakenTurn]:
        """See AsyncConversation.stream: `for text in conversation.stream(…)`."""
        stream = self._portal.call(partial(self._conversation.stream, content, **options))
        return TextStream(self._portal, stream)

    def fork(self, at: int | None = None) -> "Conversation":
        """See AsyncConversation.fork."""
        return Conversation(self._portal, self._portal.call(self._conversation.fork, at))

    def close(self, reason: str = "") -> None:
        """See AsyncConversation.close."""
        self._portal.call(self._conversation.close, reason)

    def document(self, **options: Any) -> Json:
        """See AsyncConversation.document."""
        return self._portal.call(partial(self._conversation.document, **options))

    def __repr__(self) -> str:
        return repr(self._conversation)

    def _repr_html_(self) -> str | None:
        try:
            return conversation_page(self.conversation_id, self.messages)
        except RuntimeError:  # the study is closed, and nobody can be asked
            return None


async def conversation_of(
    wired: Wired,
    conversation_id: UUID | str | None,
    *,
    title: str | None,
    metadata: Mapping[str, Any] | None,
    options: ConversationOptions,
) -> AsyncConversation:
    """The one with this id, or a new one. Raises NotFound, Rejected."""
    if conversation_id is None:
        wanted = NewConversation(settings=ConversationSettings(**options), title=title, metadata=dict(metadata or {}))
        return AsyncConversation(wired, (await wired.conversations.start(wanted, wired.context())).conversation_id)
    if options or title is not None or metadata is not None:
        raise Rejected(
            "A conversation that is there has its settings already; give options to say(…), or leave away the id",
            fields=("conversation_id", *options),
        )
    found = AsyncConversation(wired, id_of(conversation_id))
    await found.document()
    return found


def _message(content: str, options: SayOptions) -> Message:
    given: dict[str, Any] = dict(options)
    if unknown := given.keys() - SayOptions.__annotations__.keys():
        raise TypeError(
            f"There is no option {', '.join(sorted(unknown))}; there are {', '.join(SayOptions.__annotations__)}"
        )
    place, metadata = group_place(given.pop("group", None)), dict(given.pop("metadata", None) or {})
    steps, template, fields = (given.pop(name, None) for name in ("preprocess", "template", "fields"))
    preprocessing = parse_steps(steps or (), template=template, fields=dict(fields or {}))
    return Message(content=content, group=place, metadata=metadata, preprocessing=preprocessing, **given)
