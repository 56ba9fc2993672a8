"""Conversations: what happens to one, what it amounts to, and how much of it is sent.

A conversation is one stream: how it began, or from which it was forked, then its turns, then perhaps its end. A fork's
history is its parent's up to a turn; its own turns go on counting from there.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from domain.errors import Conflict, Rejected
from domain.events import Fact, Metadata, PayloadRef, RecordedEvent, stored_as

MOST_MESSAGE_CHARACTERS = 10_000_000
MOST_TOKENS = 100_000_000
LONGEST_TITLE_CHARACTERS = 300
OPENING_CHARACTERS = 120
MESSAGE_TOKENS = 4  # what a message costs besides its text: its role, and where it begins and ends


class ConversationSettings(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What holds for every turn that doesn't say otherwise; nothing is sent to the provider that is not set.

    token_budget: the most tokens of messages to send; without one all of the history is sent
    """

    system: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    token_budget: int | None = None


@stored_as("conversation.started.v1")
class ConversationStarted(Fact, frozen=True, kw_only=True):
    """A conversation began, with what holds for all its turns."""

    settings: ConversationSettings
    title: str | None = None
    metadata: Metadata = {}


@stored_as("conversation.forked.v1")
class ConversationForked(Fact, frozen=True, kw_only=True):
    """A conversation began with the history of another up to a turn; what holds for its own turns is its own."""

    parent_id: UUID
    at_turn: int
    settings: ConversationSettings
    title: str | None = None
    metadata: Metadata = {}


@stored_as("conversation.turn_taken.v1")
class ConversationTurnTaken(Fact, frozen=True, kw_only=True):
    """A message was answered: part `messages` holds both, as JSON.

    A turn whose number another one has already is one that waited in a journal for too long: it doesn't count.
    """

    turn: int  # from 1 on, a fork's from its parent's on
    call_id: UUID
    after: int  # the version of the stream that the message was based on
    messages: PayloadRef
    opening: str  # the beginning of the message
    provider: str
    model: str
    finish_reason: str | None = None
    dropped_turns: int = 0  # the oldest so many turns were not sent, to keep within the budget
    budget_tokens: int | None = None
    prompt_tokens_estimated: int | None = None  # of all that was sent; counted only where there is a budget
    counted_by: str | None = None


@stored_as("conversation.closed.v1")
class ConversationClosed(Fact, frozen=True, kw_only=True):
    """No message is taken any more; what was said stays."""

    reason: str = ""


class Turn(Struct, frozen=True, gc=False):
    """A turn as the history knows it."""

    number: int
    version: int
    call_id: UUID


class Conversation(Struct, frozen=True, kw_only=True):
    """What a stream amounts to: the turns are its own, without its parent's."""

    settings: ConversationSettings
    title: str | None = None
    metadata: Metadata = {}
    parent_id: UUID | None = None
    at_turn: int = 0
    turns: tuple[Turn, ...] = ()
    closed: bool = False
    version: int = 1

    @property
    def last_turn(self) -> int:
        """The number of the newest turn, 0 before the first."""
        return self.at_turn + len(self.turns)


def evolve(conversation: Conversation | None, event: RecordedEvent) -> Conversation | None:
    """The conversation after an event."""
    if conversation is None:
        return _begun(event.fact)
    conversation = structs.replace(conversation, version=event.version)
    match event.fact:
        case ConversationTurnTaken(turn=number, call_id=call_id, opening=opening):
            if number == conversation.last_turn + 1:
                turns = (*conversation.turns, Turn(number, event.version, call_id))
                return structs.replace(conversation, turns=turns, title=conversation.title or opening)
        case ConversationClosed():
            return structs.replace(conversation, closed=True)
    return conversation


def _begun(fact: Fact) -> Conversation | None:
    match fact:
        case ConversationStarted():
            return Conversation(settings=fact.settings, title=fact.title, metadata=fact.metadata)
        case ConversationForked():
            return Conversation(
                settings=fact.settings,
                title=fact.title,
                metadata=fact.metadata,
                parent_id=fact.parent_id,
                at_turn=fact.at_turn,
            )
    return None


def conversation_of(events: Iterable[RecordedEvent]) -> Conversation | None:
    """What a stream amounts to; None for one that is no conversation's."""
    return reduce(evolve, events, None)


def checked_settings(settings: ConversationSettings) -> ConversationSettings:
    """The settings, if they can be. Raises Rejected naming the field."""
    if settings.system is not None and len(settings.system) > MOST_MESSAGE_CHARACTERS:
        raise Rejected(f"system is longer than {MOST_MESSAGE_CHARACTERS:,} characters", fields=("system",))
    if settings.temperature is not None and not 0 <= settings.temperature <= 2:
        raise Rejected(f"temperature must lie between 0 and 2, not {settings.temperature}", fields=("temperature",))
    for name in ("max_tokens", "token_budget"):
        tokens = getattr(settings, name)
        if tokens is not None and not 1 <= tokens <= MOST_TOKENS:
            raise Rejected(f"{name} must lie between 1 and {MOST_TOKENS:,}, not {tokens}", fields=(name,))
    if settings.seed is not None and not -(2**63) <= settings.seed < 2**63:
        raise Rejected(f"seed must be an integer of 64 bits, not {settings.seed}", fields=("seed",))
    return settings


def checked_title(title: str | None) -> str | None:
    """The title, if it can be one. Raises Rejected."""
    if title is not None and not (title.strip() and len(title) <= LONGEST_TITLE_CHARACTERS):
        raise Rejected(f"A title must have 1 to {LONGEST_TITLE_CHARACTERS} characters", fields=("title",))
    return title


def checked_message(content: str) -> str:
    """The message, if it can be one. Raises Rejected."""
    if not content.strip():
        raise Rejected("The message is empty", fields=("content",))
    if len(content) > MOST_MESSAGE_CHARACTERS:
        raise Rejected(f"The message is longer than {MOST_MESSAGE_CHARACTERS:,} characters", fields=("content",))
    return content


def takes_messages(conversation_id: UUID, conversation: Conversation) -> None:
    """Raises Conflict for a conversation that is closed."""
    if conversation.closed:
        raise Conflict(f"Conversation {conversation_id} is closed; fork it to go on", existing_id=str(conversation_id))


def turn_to_fork_at(conversation_id: UUID, conversation: Conversation, at: int | None) -> int:
    """The turn up to which a fork has the history: a given one, or the last. Raises Rejected for one there is not."""
    last = conversation.last_turn
    if at is not None and not 0 <= at <= last:
        raise Rejected(
            f"Conversation {conversation_id} has {last} turn{'' if last == 1 else 's'}; "
            f"fork it at a turn from 0, its beginning, to {last}, not {at}",
            fields=("at",),
        )
    return last if at is None else at


def opening_of(content: str) -> str:
    """The beginning of a message, on one line."""
    line = " ".join(content[: OPENING_CHARACTERS * 4].split())
    return line if len(line) <= OPENING_CHARACTERS else line[: OPENING_CHARACTERS - 1] + "…"


class TokenCounter(Struct, frozen=True):
    """How tokens are counted, and what that is called in the record."""

    name: str
    count: Callable[[str], int]


BY_CHARACTERS = TokenCounter("characters/4", lambda text: -(-len(text) // 4))


class Fitted(Struct, frozen=True, kw_only=True):
    """How many of the oldest turns are left out, and the tokens of what is sent."""

    dropped_turns: int
    tokens: int


def message_tokens(message: dict[str, Any], counter: TokenCounter) -> int:
    """What a message counts."""
    return counter.count(message["content"]) + MESSAGE_TOKENS


def fitted(
    budget_tokens: int, turns: Sequence[Sequence[dict[str, Any]]], kept: Sequence[dict[str, Any]], counter: TokenCounter
) -> Fitted:
    """Which turns fit into a budget beside the messages that are always sent: the newest ones, each as a whole.

    turns: each turn's messages, oldest first
    kept: the system prompt, if there is one, and the new message. Raises Rejected if these alone are too long.
    """
    tokens = sum(message_tokens(message, counter) for message in kept)
    if tokens > budget_tokens:
        raise Rejected(
            f"The message and the system prompt take {tokens} tokens ({counter.name}), {tokens - budget_tokens} more "
            f"than the budget of {budget_tokens}; shorten the message, or raise token_budget",
            fields=("content", "token_budget"),
        )
    for back, turn in enumerate(reversed(turns)):
        with_turn = tokens + sum(message_tokens(message, counter) for message in turn)
        if with_turn > budget_tokens:
            return Fitted(dropped_turns=len(turns) - back, tokens=tokens)
        tokens = with_turn
    return Fitted(dropped_turns=0, tokens=tokens)
