"""Conversations: beginning them, going on with them, and looking at them."""

from functools import partial
from uuid import UUID

from application.continue_conversation import ContinueConversation, Message, TakenTurn
from application.keep_conversation import Begun, KeepConversation, NewConversation
from application.notebook import Context
from application.stream_answer import AnswerStream, StreamAnswer
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.conversations import CONVERSATIONS
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries

READS = (CONVERSATIONS.name,)


class Conversations:
    """Conversations, each message of which is a call."""

    def __init__(
        self,
        keep_conversation: KeepConversation,
        continue_conversation: ContinueConversation,
        stream_answer: StreamAnswer,
        queries: Queries,
        moments: Moments,
    ) -> None:
        self._keep = keep_conversation
        self._continue = continue_conversation
        self._stream_answer = stream_answer
        self._queries = queries
        self._moments = moments

    async def start(self, wanted: NewConversation, context: Context) -> Begun:
        """Begin a conversation. Raises Rejected, Conflict, Unavailable."""
        return await self._keep.start(wanted, context)

    async def say(self, conversation_id: UUID | str, message: Message, context: Context) -> TakenTurn:
        """Say something, and get the answer. Raises Rejected, NotFound, Conflict, ProviderFailed, Unavailable."""
        return await self._continue(id_of(conversation_id), message, context)

    def stream(self, conversation_id: UUID | str, message: Message, context: Context) -> AnswerStream[str, TakenTurn]:
        """The same, with the answer's text as it comes. Whoever leaves the stream cancels the call."""
        return self._stream_answer.begin(partial(self._continue, id_of(conversation_id), message, context))

    async def fork(
        self, conversation_id: UUID | str, context: Context, *, at: int | None = None, fork_id: UUID | None = None
    ) -> Begun:
        """Begin another with its history up to a turn, or all of it. Raises NotFound, Rejected, Conflict."""
        return await self._keep.fork(id_of(conversation_id), context, at=at, fork_id=fork_id)

    async def close(self, conversation_id: UUID | str, context: Context, *, reason: str = "") -> int:
        """Take no more messages, and return the position; nothing is erased. Raises NotFound."""
        return await self._keep.close(id_of(conversation_id), context, reason=reason)

    async def get(self, conversation_id: UUID | str, moment: Moment = NOW) -> Json:
        """One conversation with what was said in it. Raises NotFound."""
        position = await self._moments.shown(moment, reads=READS)
        return await self._queries.conversations.conversation(id_of(conversation_id), as_of=position)

    async def list(self, moment: Moment = NOW, page: Paging = FIRST_PAGE, *, status: str | None = None) -> Json:
        """Conversations, newest first."""
        position = await self._moments.shown(moment, page, reads=READS)
        return await self._queries.conversations.conversations(status=status, as_of=position, page=page)

    async def aclose(self) -> None:
        """Leave no task behind."""
        await self._continue.aclose()
