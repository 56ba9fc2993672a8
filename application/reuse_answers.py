"""Give an earlier answer to the same request again, if whoever asks wants that and the request has one answer only."""

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from application.call_provider import CallIntent
from application.flights import Given, MembersOf
from application.notebook import Context, Notebook
from application.stored_answers import end_of, stored_answer
from domain.calls import CallAnswered, CallServedFromCache


class AnsweredRequests(Protocol):
    """The read model of calls that were answered."""

    async def last_answered(self, request_hash: str, *, at_least: int) -> UUID | None:
        """The call that answered a request last, in all that is stored up to `at_least` and perhaps beyond."""


class ReuseAnswers:
    """Looks for an answer that is young enough. It finds what this process was answered a moment ago, too."""

    def __init__(self, notebook: Notebook, answered: AnsweredRequests) -> None:
        self._notebook = notebook
        self._answered = answered
        self._at_least = 0

    def answered_at(self, position: int | None) -> None:
        """Note where an answer of this process is stored."""
        self._at_least = max(self._at_least, position or 0)

    async def __call__(
        self, intent: CallIntent, context: Context, *, longest_seconds: float, members_of: MembersOf
    ) -> Given | None:
        """The newest answer to the same request that is at most so old; None if there is none."""
        call_id = await self._answered.last_answered(intent.request_hash, at_least=self._at_least)
        event = None if call_id is None else await end_of(self._notebook.store, call_id)
        if call_id is None or event is None or not isinstance(event.fact, CallAnswered):
            return None
        if self._notebook.clock.now() - event.recorded_at > timedelta(seconds=longest_seconds):
            return None
        source = await stored_answer(self._notebook.store, event, event.fact)
        served = CallServedFromCache(
            modality=intent.modality,
            provider=intent.prepared.provider,
            model=intent.prepared.model,
            hits=1,
            call_ids=(call_id,),
            preprocessing=intent.preprocessing,
            saved=source.cost,
            metadata=intent.metadata,
        )
        served_id = self._notebook.ids.new()
        entry = self._notebook.entry(context, served_id, 1, served, *intent.originals, because_of=call_id)
        position = await self._notebook.write(entry, *members_of(call_id))
        return Given(call_id=served_id, source=source, position=position, cached=True)
