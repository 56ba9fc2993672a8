"""Issue and revoke tokens. A token is shown once, to whoever issues it; what is recorded is its hash."""

import base64
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict
from domain.events import Fact
from domain.tokens import (
    PREFIX,
    SECRET_BYTES,
    TOKENS_STREAM_ID,
    Scope,
    TokenBook,
    TokenIssued,
    TokenRevoked,
    hash_of_token,
)

Chance = Callable[[int], bytes]  # so many bytes that nobody can guess


class IssuedToken(Struct, frozen=True, kw_only=True):
    """A token, as whoever issues it sees it, this once."""

    token: str
    token_id: UUID
    name: str
    scope: Scope
    expires_at: datetime | None
    position: int


class RevokedToken(Struct, frozen=True, kw_only=True):
    """A token that counts no longer."""

    token_id: UUID
    name: str
    position: int


class IssueTokens:
    """Gives tokens out and takes them back. Nobody else writes their stream."""

    def __init__(self, notebook: Notebook, chance: Chance) -> None:
        self._notebook = notebook
        self._chance = chance

    async def issue(
        self, name: str, scope: Scope, context: Context, *, expires_at: datetime | None = None
    ) -> IssuedToken:
        """Issue a token. Raises Rejected, and Conflict when a live token has the name."""
        token = PREFIX + base64.urlsafe_b64encode(self._chance(SECRET_BYTES)).decode().rstrip("=")
        wanted = TokenIssued(
            token_id=self._notebook.ids.new(),
            name=name,
            scope=scope,
            sha256=hash_of_token(token),
            expires_at=expires_at,
        )
        now = self._notebook.clock.now()
        position = await self._decide(context, lambda book: book.issue(wanted, now))
        return IssuedToken(
            token=token,
            token_id=wanted.token_id,
            name=name,
            scope=scope,
            expires_at=expires_at,
            position=position,
        )

    async def revoke(self, name: str, context: Context) -> RevokedToken:
        """Take a token back; every server notices within a second. Raises NotFound."""
        decided: list[TokenRevoked] = []

        def decide(book: TokenBook) -> TokenRevoked:
            decided.append(book.revoke(name))
            return decided[-1]

        position = await self._decide(context, decide)
        return RevokedToken(token_id=decided[-1].token_id, name=name, position=position)

    async def _decide(self, context: Context, decide: Callable[[TokenBook], Fact]) -> int:
        while True:
            events = await self._notebook.store.read_stream(TOKENS_STREAM_ID)
            book = TokenBook()
            book.apply(event.fact for event in events)
            version = events[-1].version + 1 if events else 1
            try:
                return await self._notebook.write(
                    self._notebook.entry(context, TOKENS_STREAM_ID, version, decide(book))
                )
            except AppendConflict:
                continue  # somebody else was faster: decide by what stands now
