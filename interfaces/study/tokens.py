"""Tokens: who may do what over HTTP."""

from datetime import UTC, datetime, timedelta

import msgspec

from application.check_tokens import Caller, CheckTokens
from application.issue_tokens import IssueTokens
from application.notebook import Context
from application.ports import Clock
from domain.errors import Rejected
from domain.tokens import SCOPES, Scope
from interfaces.as_of import NOW, Moment
from interfaces.duration import seconds_of
from interfaces.study.moments import Moments
from interfaces.study.words import Json
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries
from projections.tokens import TOKENS

READS = (TOKENS.name,)


class Tokens:
    """Gives tokens out, takes them back, and knows whose one is."""

    def __init__(
        self, issue_tokens: IssueTokens, check: CheckTokens, queries: Queries, moments: Moments, clock: Clock
    ) -> None:
        self._issue = issue_tokens
        self._queries = queries
        self._moments = moments
        self._clock = clock
        self.check = check

    async def issue(self, name: str, scope: str, context: Context, *, expires: str | None = None) -> Json:
        """Issue a token, which is in this answer and nowhere else. Raises Rejected, Conflict for a name in use.

        expires: after a time such as 90d, or at one such as 2026-12-31; None for never
        """
        issued = await self._issue.issue(
            name, _scope(scope), context, expires_at=_expiry(expires, self._clock.now()) if expires else None
        )
        await self.check.read_on()
        shown: Json = msgspec.to_builtins(issued)
        return shown

    async def revoke(self, name: str, context: Context) -> Json:
        """Take a token back; every server notices within a second. Raises NotFound."""
        revoked = await self._issue.revoke(name, context)
        await self.check.read_on()
        shown: Json = msgspec.to_builtins(revoked)
        return shown

    async def list(self, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """Tokens, newest first; `status` is issued, revoked, or, now, expired."""
        position = await self._moments.shown(moment, page, reads=READS)
        found = await self._queries.tokens.tokens(as_of=position, page=page)
        if position is None:
            for token in found["items"]:
                if token["status"] == "issued" and _has_passed(token["expires_at"], self._clock.now()):
                    token["status"] = "expired"
        return found

    async def caller_of(self, token: str) -> Caller | None:
        """Who comes with this token; None for one that is unknown, revoked or expired."""
        return await self.check(token)


def _scope(text: str) -> Scope:
    for scope in SCOPES:
        if scope == text:
            return scope
    raise Rejected(f"scope: {text[:40]!r} is none of {', '.join(SCOPES)}", fields=("scope",))


def _expiry(text: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    try:
        return now + timedelta(seconds=seconds_of(text, "expires"))
    except Rejected:
        raise Rejected(
            f"expires: {text[:60]!r} is neither a length of time such as 90d nor a time such as 2026-12-31",
            fields=("expires",),
        ) from None


def _has_passed(moment: str | None, now: datetime) -> bool:
    return moment is not None and datetime.fromisoformat(moment) <= now
