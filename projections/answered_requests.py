"""What was answered before, in all that is stored by the time of the question."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from application.ask_model import Answer
from projections.call_queries import CallQueries
from projections.follow import Follower
from projections.group_links import GROUP_LINKS
from projections.raw_calls import RAW_CALLS

READ_SECONDS = 5.0


class AnsweredCalls:
    """Implements the ports AnsweredRequests, AnsweredBefore and AnsweredTurns on the read models.

    Each raises Unavailable when the read models don't show what is stored in time.
    """

    def __init__(self, calls: CallQueries, follower: Follower) -> None:
        self._calls = calls
        self._follower = follower

    async def last_answered(self, request_hash: str, *, at_least: int) -> UUID | None:
        """See AnsweredRequests."""
        await self._follower.wait_until(at_least, READ_SECONDS, (RAW_CALLS.name,))
        return await self._calls.last_answered(request_hash)

    async def answers_in(self, group_id: UUID, request_hashes: Sequence[str]) -> dict[str, list[Answer]]:
        """See AnsweredBefore."""
        stored = await asyncio.to_thread(self._follower.pages.last_position)
        await self._follower.wait_until(stored, READ_SECONDS, (RAW_CALLS.name, GROUP_LINKS.name))
        answers: dict[str, list[Answer]] = defaultdict(list)
        for request_hash, answer in await self._calls.answers_in(group_id, request_hashes):
            answers[request_hash].append(answer)
        return dict(answers)

    async def answer_to_turn(
        self, request_hash: str, conversation_id: UUID, turn: int, *, at_least: int
    ) -> UUID | None:
        """See the port AnsweredTurns. Raises Unavailable when the read models don't show that position in time."""
        await self._follower.wait_until(at_least, READ_SECONDS, (RAW_CALLS.name,))
        return await self._calls.last_answered(request_hash, {"conversation_id": str(conversation_id), "turn": turn})
