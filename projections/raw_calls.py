"""Every provider call as one row, and every attempt as another: the tables and what events do to them.

A call's row holds the positions of its request, of its being found in doubt and of its end, so that a query as of a
position masks what came later. `study.raw_calls` joins the bodies, which stay where the log keeps them.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallFoundInDoubt, CallRequested
from domain.events import PayloadRef, RecordedEvent
from domain.groups import GroupMembersAdded
from projections.grouped_calls import GROUPED, GroupTheCalls
from projections.read_model import Insert, ReadModel, Step, Table, Update, View

CALLS = Table(
    name="calls",
    columns={
        "call_id": "uuid NOT NULL",
        "requested_position": "bigint NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "provider": "text NOT NULL",
        "endpoint": "text NOT NULL",
        "model": "text NOT NULL",
        "modality": "text NOT NULL",
        "operation": "text NOT NULL",
        "request_hash": "text NOT NULL",
        "sample_index": "int NOT NULL",
        "actor": "text NOT NULL",
        "process": "text NOT NULL",
        "correlation_id": "uuid NOT NULL",
        "metadata": "jsonb NOT NULL",
        "request_is_json": "boolean NOT NULL",
        "preprocessing": "jsonb",
        "in_doubt_position": "bigint",
        "outcome": "text",  # success, failed or cancelled, once it ended
        "ended_position": "bigint",
        "ended_version": "int",
        "ended_at": "timestamptz",
        "total_ms": "float8",
        "attempts": "int",
        "latency_ms": "float8",
        "tokens_prompt": "bigint",
        "tokens_completion": "bigint",
        "tokens_total": "bigint",
        "tokens_cached": "bigint",
        "error": "jsonb",
        "finish_reason": "text",
        "text_path": "jsonb",
        "served_model": "text",
        "http_status": "int",
        "response_part": "text",  # completion, where a stream was put together, else response
        "response_is_json": "boolean",
        "first_token_ms": "float8",
        "tokens_per_second": "float8",
        "cost": "numeric(20,10)",
        "price": "jsonb",
    },
    key=("call_id",),
    indexes=(
        "(created_at, requested_position)",
        "(provider, model, created_at, requested_position)",
        "(provider, created_at, requested_position)",
        "(model, created_at, requested_position)",
        "(modality, created_at, requested_position)",
        "(actor, created_at, requested_position)",
        "(request_hash)",
        "(requested_position) WHERE outcome IS NULL",
        "(requested_position) WHERE outcome = 'cancelled'",
        "(created_at, requested_position) WHERE outcome = 'failed'",
        "(created_at, requested_position) WHERE outcome = 'cancelled'",
    ),
)

ATTEMPTS = Table(
    name="call_attempts",
    columns={
        "call_id": "uuid NOT NULL",
        "version": "int NOT NULL",
        "attempt": "int NOT NULL",
        "outcome": "text NOT NULL",  # success or failed; cancelled, for a stream that was left
        "latency_ms": "float8 NOT NULL",
        "waits_seconds": "float8",
        "error": "jsonb",
        "at": "timestamptz NOT NULL",
        "position": "bigint NOT NULL",
        "response_part": "text",
        "response_is_json": "boolean",
        "first_token_ms": "float8",
    },
    key=("call_id", "version"),
)

STATUS = (
    "CASE WHEN c.outcome IS NOT NULL THEN c.outcome WHEN c.in_doubt_position IS NOT NULL THEN 'in_doubt' "
    "ELSE 'requested' END"
)
TOKENS = (
    "CASE WHEN c.outcome = 'success' THEN jsonb_strip_nulls(jsonb_build_object('prompt', c.tokens_prompt, "
    "'completion', c.tokens_completion, 'total', c.tokens_total, 'cached', c.tokens_cached)) END"
)

RAW_CALLS_VIEW = View(
    name="raw_calls",
    select=f"""
        SELECT c.call_id, c.provider, c.model, c.modality, {STATUS} AS status,
            CASE WHEN c.request_is_json THEN convert_from(asked.body, 'UTF8')::json END AS request_json,
            CASE WHEN c.outcome = 'success' AND c.response_is_json
                THEN convert_from(answered.body, 'UTF8')::json END AS response_json,
            c.error AS error_json, c.latency_ms, {TOKENS} AS tokens_json, c.metadata AS metadata_json,
            c.request_hash, c.created_at, c.requested_position AS position, c.cost
        FROM {{schema}}.calls c
        LEFT JOIN events.payloads asked ON asked.originator_id = c.call_id
            AND asked.originator_version = 1 AND asked.part = 'request'
        LEFT JOIN events.payloads answered ON answered.originator_id = c.call_id
            AND answered.originator_version = c.ended_version AND answered.part = c.response_part
    """,  # noqa: S608 - nothing from outside
)

CALL_ATTEMPTS_VIEW = View(
    name="call_attempts",
    select="""
        SELECT a.call_id, a.attempt, a.outcome, a.latency_ms, a.waits_seconds, a.error AS error_json, a.at,
            CASE WHEN a.response_is_json THEN convert_from(p.body, 'UTF8')::json END AS response_json, a.position
        FROM {schema}.call_attempts a
        LEFT JOIN events.payloads p ON p.originator_id = a.call_id
            AND p.originator_version = a.version AND p.part = a.response_part
    """,
)

END_COLUMNS = tuple(CALLS.columns)[tuple(CALLS.columns).index("outcome") :]
_NOT_ENDED = (None,) * len(END_COLUMNS)

_insert_calls = Insert(CALLS)
_insert_attempts = Insert(ATTEMPTS)
_end_calls = Update(CALLS, *END_COLUMNS)
_doubt_calls = Update(CALLS, "in_doubt_position")


def changes(events: Sequence[RecordedEvent]) -> list[Step]:
    """Fold a call's events of one batch into one row; a call requested in an earlier batch is updated."""
    requested: dict[UUID, tuple[Any, ...]] = {}
    doubted: dict[UUID, int] = {}
    ended: dict[UUID, tuple[Any, ...]] = {}
    attempts: list[tuple[Any, ...]] = []
    grouped: list[tuple[UUID, UUID, int]] = []
    for event in events:
        match event.fact:
            case CallRequested():
                requested[event.stream_id] = _requested_row(event, event.fact)
            case CallAnswered():
                ended[event.stream_id] = _answered_row(event, event.fact)
                attempts.append(_answered_attempt(event, event.fact))
            case CallAttemptFailed():
                attempts.append(_failed_attempt(event, event.fact))
            case CallFailed():
                ended[event.stream_id] = _unanswered_row(event, event.fact, "failed", event.fact.error)
            case CallCancelled():
                error = {"kind": "cancelled", "message": event.fact.reason}
                ended[event.stream_id] = _unanswered_row(event, event.fact, "cancelled", error)
                if event.fact.response is not None:
                    attempts.append(_left_attempt(event, event.fact, error))
            case CallFoundInDoubt():
                doubted[event.stream_id] = event.position
            case GroupMembersAdded(group_id=group_id, members=members):
                grouped += [(group_id, member.call_id, event.position) for member in members]
    return [
        *_insert_calls(
            [(*row, doubted.get(call_id), *ended.get(call_id, _NOT_ENDED)) for call_id, row in requested.items()]
        ),
        *_doubt_calls([(call_id, position) for call_id, position in doubted.items() if call_id not in requested]),
        *_end_calls([(call_id, *row) for call_id, row in ended.items() if call_id not in requested]),
        *_insert_attempts(attempts),
        *([GroupTheCalls(grouped)] if grouped else []),
    ]


def _requested_row(event: RecordedEvent, fact: CallRequested) -> tuple[Any, ...]:
    envelope = event.envelope
    return (
        event.stream_id,
        event.position,
        envelope.occurred_at,
        fact.provider,
        fact.endpoint,
        fact.model,
        fact.modality,
        fact.operation,
        fact.request_hash,
        fact.sample_index,
        envelope.actor,
        envelope.process,
        envelope.correlation_id,
        fact.metadata,
        fact.request.is_json,
        fact.preprocessing,
    )


def _answered_row(event: RecordedEvent, fact: CallAnswered) -> tuple[Any, ...]:
    tokens = fact.tokens
    return (
        "success",
        event.position,
        event.version,
        event.envelope.occurred_at,
        fact.total_ms,
        fact.attempt,
        fact.latency_ms,
        tokens.prompt,
        tokens.completion,
        tokens.total,
        tokens.cached,
        None,
        fact.finish_reason,
        fact.text_path,
        fact.served_model,
        fact.http_status,
        *_shown(fact.response, fact.completion),
        fact.first_token_ms,
        fact.tokens_per_second,
        fact.cost,
        None if fact.charge is None else fact.charge.price,
    )


def _unanswered_row(
    event: RecordedEvent, fact: CallFailed | CallCancelled, outcome: str, error: Any
) -> tuple[Any, ...]:
    return (
        outcome,
        event.position,
        event.version,
        event.envelope.occurred_at,
        fact.total_ms,
        fact.attempts,
        *(None,) * 5,
        error,
        *(None,) * 10,
    )


def _answered_attempt(event: RecordedEvent, fact: CallAnswered) -> tuple[Any, ...]:
    return (
        event.stream_id,
        event.version,
        fact.attempt,
        "success",
        fact.latency_ms or 0.0,
        None,
        None,
        event.envelope.occurred_at,
        event.position,
        *_shown(fact.response, fact.completion),
        fact.first_token_ms,
    )


def _failed_attempt(event: RecordedEvent, fact: CallAttemptFailed) -> tuple[Any, ...]:
    return (
        event.stream_id,
        event.version,
        fact.attempt,
        "failed",
        fact.latency_ms,
        fact.waits_seconds,
        fact.error,
        event.envelope.occurred_at,
        event.position,
        *_shown(fact.response, fact.completion),
        fact.first_token_ms,
    )


def _left_attempt(event: RecordedEvent, fact: CallCancelled, error: Any) -> tuple[Any, ...]:
    return (
        event.stream_id,
        event.version,
        fact.attempts,
        "cancelled",
        fact.latency_ms or 0.0,
        None,
        error,
        event.envelope.occurred_at,
        event.position,
        *_shown(fact.response, fact.completion),
        fact.first_token_ms,
    )


def _shown(response: PayloadRef | None, completion: PayloadRef | None) -> tuple[str | None, bool | None]:
    """The part that people read, and whether it is JSON: what a stream was put together to, or else what was sent."""
    shown = completion or response
    return (None, None) if shown is None else (shown.part, shown.is_json)


RAW_CALLS = ReadModel(
    name="raw_calls",
    version=4,
    reads=(
        CallRequested,
        CallAttemptFailed,
        CallAnswered,
        CallFailed,
        CallCancelled,
        CallFoundInDoubt,
        GroupMembersAdded,
    ),
    tables=(CALLS, ATTEMPTS, GROUPED),
    views=(RAW_CALLS_VIEW, CALL_ATTEMPTS_VIEW),
    changes=changes,
)
