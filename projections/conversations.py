"""Conversations and their turns: the tables and what events do to them.

A turn belongs to the conversation in which it was taken; a fork's history is found by following its parents. What was
said stays beside the events. Of two turns with the same number the first to be stored counts, as for whoever goes on.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.conversations import ConversationClosed, ConversationForked, ConversationStarted, ConversationTurnTaken
from domain.events import RecordedEvent
from projections.read_model import Change, Insert, ReadModel, Table, Update, View

CONVERSATIONS_TABLE = Table(
    name="conversations",
    columns={
        "conversation_id": "uuid NOT NULL",
        "started_position": "bigint NOT NULL",
        "started_at": "timestamptz NOT NULL",
        "title": "text",  # as it was given; without one, the first turn's opening stands for it
        "system": "text",
        "provider": "text",
        "model": "text",
        "temperature": "float8",
        "max_tokens": "bigint",
        "seed": "bigint",
        "token_budget": "bigint",
        "parent_id": "uuid",
        "at_turn": "int NOT NULL",
        "actor": "text NOT NULL",
        "metadata": "jsonb NOT NULL",
        "closed_position": "bigint",
        "closed_at": "timestamptz",
        "closed_reason": "text",
    },
    key=("conversation_id",),
    indexes=("(started_position)", "(parent_id) WHERE parent_id IS NOT NULL"),
)

TURNS = Table(
    name="conversation_turns",
    columns={
        "conversation_id": "uuid NOT NULL",
        "turn": "int NOT NULL",
        "version": "int NOT NULL",
        "call_id": "uuid NOT NULL",
        "opening": "text NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "finish_reason": "text",
        "dropped_turns": "int NOT NULL",
        "budget_tokens": "bigint",
        "prompt_tokens_estimated": "bigint",
        "counted_by": "text",
        "taken_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("conversation_id", "turn"),
    indexes=("(call_id)",),
)

CONVERSATIONS_VIEW = View(
    name="conversations",
    select="""
        SELECT c.conversation_id, coalesce(c.title, first.opening) AS title,
            CASE WHEN c.closed_position IS NULL THEN 'open' ELSE 'closed' END AS status,
            c.system, c.provider, c.model, c.temperature, c.max_tokens, c.seed, c.token_budget, c.parent_id, c.at_turn,
            coalesce(last.turn, c.at_turn) AS turns, c.started_at, last.taken_at AS last_turn_at, c.closed_at,
            c.closed_reason, c.actor, c.metadata AS metadata_json, c.started_position AS position
        FROM {schema}.conversations c
        LEFT JOIN {schema}.conversation_turns first ON first.conversation_id = c.conversation_id AND first.turn = 1
        LEFT JOIN LATERAL (
            SELECT t.turn, t.taken_at FROM {schema}.conversation_turns t
            WHERE t.conversation_id = c.conversation_id ORDER BY t.turn DESC LIMIT 1
        ) AS last ON true
    """,
)

TURNS_VIEW = View(
    name="conversation_turns",
    select="""
        SELECT t.conversation_id, t.turn, t.call_id, convert_from(p.body, 'UTF8')::json -> 0 ->> 'content' AS message,
            convert_from(p.body, 'UTF8')::json -> 1 ->> 'content' AS answer, t.provider, t.model, t.finish_reason,
            t.dropped_turns, t.budget_tokens, t.prompt_tokens_estimated, t.counted_by, t.taken_at, t.actor, t.position
        FROM {schema}.conversation_turns t
        LEFT JOIN events.payloads p ON p.originator_id = t.conversation_id AND p.originator_version = t.version
            AND p.part = 'messages'
    """,
)

CLOSED_COLUMNS = ("closed_position", "closed_at", "closed_reason")
_OPEN = (None,) * len(CLOSED_COLUMNS)

_insert_conversations = Insert(CONVERSATIONS_TABLE)
_insert_turns = Insert(TURNS, on_conflict="ON CONFLICT (conversation_id, turn) DO NOTHING")
_close = Update(CONVERSATIONS_TABLE, *CLOSED_COLUMNS)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """A row for each conversation and each turn; one that began in an earlier batch is updated when it is closed."""
    begun: dict[UUID, tuple[Any, ...]] = {}
    turns: list[tuple[Any, ...]] = []
    closed: dict[UUID, tuple[Any, ...]] = {}
    for event in events:
        match event.fact:
            case ConversationStarted() | ConversationForked() as fact:
                begun[event.stream_id] = _begun_row(event, fact)
            case ConversationTurnTaken() as fact:
                turns.append(_turn_row(event, fact))
            case ConversationClosed(reason=reason):
                closed[event.stream_id] = (event.position, event.envelope.occurred_at, reason)
    return [
        *_insert_conversations([(*row, *closed.get(each, _OPEN)) for each, row in begun.items()]),
        *_insert_turns(turns),
        *_close([(each, *row) for each, row in closed.items() if each not in begun]),
    ]


def _begun_row(event: RecordedEvent, fact: ConversationStarted | ConversationForked) -> tuple[Any, ...]:
    settings = fact.settings
    parent_id, at_turn = (fact.parent_id, fact.at_turn) if isinstance(fact, ConversationForked) else (None, 0)
    return (
        event.stream_id,
        event.position,
        event.envelope.occurred_at,
        fact.title,
        settings.system,
        settings.provider,
        settings.model,
        settings.temperature,
        settings.max_tokens,
        settings.seed,
        settings.token_budget,
        parent_id,
        at_turn,
        event.envelope.actor,
        fact.metadata,
    )


def _turn_row(event: RecordedEvent, fact: ConversationTurnTaken) -> tuple[Any, ...]:
    return (
        event.stream_id,
        fact.turn,
        event.version,
        fact.call_id,
        fact.opening,
        fact.provider,
        fact.model,
        fact.finish_reason,
        fact.dropped_turns,
        fact.budget_tokens,
        fact.prompt_tokens_estimated,
        fact.counted_by,
        event.envelope.occurred_at,
        event.envelope.actor,
        event.position,
    )


CONVERSATIONS = ReadModel(
    name="conversations",
    version=1,
    reads=(ConversationStarted, ConversationForked, ConversationTurnTaken, ConversationClosed),
    tables=(CONVERSATIONS_TABLE, TURNS),
    views=(CONVERSATIONS_VIEW, TURNS_VIEW),
    changes=changes,
)
