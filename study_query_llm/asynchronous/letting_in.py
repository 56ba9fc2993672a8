"""Letting others in over HTTP: tokens."""

from typing import Literal

from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from projections.paging import Paging
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.results import Rows


class LettingIn(Opened):
    """Letting others in over HTTP: tokens."""

    async def issue_token(
        self, name: str, scope: Literal["read", "write", "admin"], *, expires: str | None = None
    ) -> Json:
        """Issue a token for the HTTP API: it is `["token"]` of what is returned, and shown nowhere again.

        expires: after a time such as "90d", or at one such as "2026-12-31". Raises Rejected, Conflict.
        """
        return await self._wired.tokens.issue(name, scope, self._wired.context(), expires=expires)

    async def revoke_token(self, name: str) -> Json:
        """Take a token back; every server refuses it within a second. Raises NotFound."""
        return await self._wired.tokens.revoke(name, self._wired.context())

    async def tokens(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """The tokens that were issued, newest first, revoked ones too; never the tokens themselves."""
        return Rows((await self._wired.tokens.list(Moment(as_of), Paging(limit)))["items"])
