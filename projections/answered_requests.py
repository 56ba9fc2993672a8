"""Which call answered a request last, in all that this process has written."""

from uuid import UUID

from projections.call_queries import CallQueries
from projections.follow import Follower
from projections.raw_calls import RAW_CALLS

READ_SECONDS = 5.0


class AnsweredCalls:
    """Implements the port AnsweredRequests on the read models."""

    def __init__(self, calls: CallQueries, follower: Follower) -> None:
        self._calls = calls
        self._follower = follower

    async def last_answered(self, request_hash: str, *, at_least: int) -> UUID | None:
        """See the port. Raises Unavailable when the read models don't show that position in time."""
        await self._follower.wait_until(at_least, READ_SECONDS, (RAW_CALLS.name,))
        return await self._calls.last_answered(request_hash)
