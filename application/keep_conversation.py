"""Begin conversations, fork them, close them, and read what was said in them. None of this asks a provider."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, Payload, ProviderDirectory
from domain.conversations import (
    Conversation,
    ConversationClosed,
    ConversationForked,
    ConversationSettings,
    ConversationStarted,
    checked_settings,
    checked_title,
    conversation_of,
    turn_to_fork_at,
)
from domain.errors import Conflict, NotFound
from domain.events import Fact, Metadata
from domain.identity import canonical_json

MESSAGES = "messages"

Said = list[dict[str, Any]]  # a turn's messages: the one that was asked, and its answer


class NewConversation(Struct, frozen=True, kw_only=True):
    """A conversation to begin, under an id of the caller's if they bring one."""

    settings: ConversationSettings = ConversationSettings()
    conversation_id: UUID | None = None
    title: str | None = None
    metadata: Metadata = {}


class Begun(Struct, frozen=True, kw_only=True):
    """A conversation that began, durably, at `position`."""

    conversation_id: UUID
    position: int
    parent_id: UUID | None = None
    at_turn: int = 0


class KeepConversation:
    """Begins, forks, closes and reads."""

    def __init__(self, notebook: Notebook, providers: ProviderDirectory) -> None:
        self._notebook = notebook
        self._providers = providers

    async def start(self, wanted: NewConversation, context: Context) -> Begun:
        """Begin a conversation. Raises Rejected, and Conflict if there is something under its id already."""
        settings = checked_settings(wanted.settings)
        if settings.provider is not None:
            self._providers.create(settings.provider)
        fact = ConversationStarted(settings=settings, title=checked_title(wanted.title), metadata=wanted.metadata)
        conversation_id, position = await self._begin(wanted.conversation_id, fact, context)
        return Begun(conversation_id=conversation_id, position=position)

    async def fork(
        self,
        conversation_id: UUID,
        context: Context,
        *,
        at: int | None = None,
        fork_id: UUID | None = None,
        title: str | None = None,
        metadata: Metadata | None = None,
    ) -> Begun:
        """Begin a conversation with the history of another, closed or not, up to a turn. Raises NotFound, Rejected.

        at: the turn to go on after; 0 is the beginning, and without it all turns that there are
        title, metadata: the parent's, unless they are given
        """
        parent = await self.load(conversation_id)
        at_turn = turn_to_fork_at(conversation_id, parent, at)
        fact = ConversationForked(
            parent_id=conversation_id,
            at_turn=at_turn,
            settings=parent.settings,
            title=parent.title if title is None else checked_title(title),
            metadata=parent.metadata if metadata is None else metadata,
        )
        new_id, position = await self._begin(fork_id, fact, context, because_of=conversation_id)
        return Begun(conversation_id=new_id, position=position, parent_id=conversation_id, at_turn=at_turn)

    async def close(self, conversation_id: UUID, context: Context, *, reason: str = "") -> int:
        """Take no more messages; what was said stays. Returns the position; closing again changes nothing.

        A message that is being answered just now gets its answer, and its turn is recorded. Raises NotFound.
        """
        while True:
            events = await self._notebook.store.read_stream(conversation_id)
            conversation = _found(conversation_id, conversation_of(events))
            if conversation.closed:
                return next(event.position for event in events if isinstance(event.fact, ConversationClosed))
            closed = ConversationClosed(reason=reason)
            try:
                return await self._notebook.write(
                    self._notebook.entry(context, conversation_id, conversation.version + 1, closed)
                )
            except AppendConflict:
                continue  # a turn was taken meanwhile, or somebody else closed it: look again

    async def load(self, conversation_id: UUID) -> Conversation:
        """A conversation as it stands. Raises NotFound, Unavailable."""
        return _found(conversation_id, conversation_of(await self._notebook.store.read_stream(conversation_id)))

    async def history(self, conversation_id: UUID, conversation: Conversation) -> list[Said]:
        """What was said in every turn from the first on, the parents' included. Two round trips a parent."""
        until, parts = conversation.last_turn, []
        while True:
            turns = [turn for turn in conversation.turns if turn.number <= until]
            bodies = await self._notebook.store.read_payloads(conversation_id, MESSAGES) if turns else {}
            parts.append([said(bodies[turn.version]) for turn in turns])
            if conversation.parent_id is None:
                return [messages for part in reversed(parts) for messages in part]
            until = min(until, conversation.at_turn)
            conversation_id, conversation = conversation.parent_id, await self.load(conversation.parent_id)

    async def _begin(
        self, wanted_id: UUID | None, fact: Fact, context: Context, *, because_of: UUID | None = None
    ) -> tuple[UUID, int]:
        conversation_id = wanted_id or self._notebook.ids.new()
        entry = self._notebook.entry(context, conversation_id, 1, fact, because_of=because_of)
        try:
            return conversation_id, await self._notebook.write(entry)
        except AppendConflict:
            raise Conflict(
                f"There is something under the id {conversation_id} already; choose another, or none",
                existing_id=str(conversation_id),
            ) from None


def messages_payload(asked: str, answered: str | None) -> Payload:
    """What was said in a turn, as it lies beside the event."""
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered or ""}]
    return Payload(part=MESSAGES, body=canonical_json(messages), media_type="application/json", is_json=True)


def said(payload: Payload) -> Said:
    """What was said in a turn, from what lies beside the event."""
    return msgspec.json.decode(payload.body or b"[]", type=Said)


def _found(conversation_id: UUID, conversation: Conversation | None) -> Conversation:
    if conversation is None:
        raise NotFound(
            f"There is no conversation {conversation_id}; `study conversations list` shows the ones there are"
        )
    return conversation
