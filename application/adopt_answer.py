"""Find the answer to a turn that was paid for by a process that died before it could record the turn."""

from typing import Protocol
from uuid import UUID

from application.ask_model import Answer
from application.ports import EventStore
from application.stored_answers import stored_answer
from domain.calls import CallAnswered, CallRequested


class AnsweredTurns(Protocol):
    """The read model of calls that were answered."""

    async def answer_to_turn(
        self, request_hash: str, conversation_id: UUID, turn: int, *, at_least: int
    ) -> UUID | None:
        """The call that answered this request as that turn, in all that is stored up to `at_least` and perhaps beyond.

        Raises Unavailable when that can't be told.
        """


class AdoptAnswer:
    """Looks for what was paid for already."""

    def __init__(self, store: EventStore, answered: AnsweredTurns) -> None:
        self._store = store
        self._answered = answered

    async def __call__(self, request_hash: str, conversation_id: UUID, turn: int, *, at_least: int) -> Answer | None:
        """The answer that the same message got as the same turn; None if there is none."""
        call_id = await self._answered.answer_to_turn(request_hash, conversation_id, turn, at_least=at_least)
        events = [] if call_id is None else await self._store.read_stream(call_id)
        end = next((event for event in events if isinstance(event.fact, CallAnswered)), None)
        if end is None or not isinstance(end.fact, CallAnswered) or not isinstance(events[0].fact, CallRequested):
            return None
        requested, source = events[0].fact, await stored_answer(self._store, end, end.fact)
        return Answer(
            call_id=end.stream_id,
            status="success",
            text=source.answer.text,
            provider=requested.provider,
            model=requested.model,
            tokens=source.answer.tokens,
            latency_ms=source.answer.latency_ms,
            attempts=source.attempts,
            position=end.position,
            finish_reason=source.answer.finish_reason,
            first_token_ms=end.fact.first_token_ms,
            tokens_per_second=end.fact.tokens_per_second,
            cost=source.cost,
        )
