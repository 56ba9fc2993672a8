"""Tokens, as facts: who may do what over HTTP. What is stored of a token is its hash, never the token."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from msgspec import Struct

from domain.errors import Conflict, NotFound, Rejected
from domain.events import Fact, stored_as
from domain.identity import content_id, sha256_hex

Scope = Literal["read", "write", "admin"]  # each may do what those before it may

SCOPES: tuple[Scope, ...] = get_args(Scope)
TOKENS_STREAM_ID = content_id("tokens")
PREFIX = "sq_"  # by which people, and programs that look for leaked secrets, know it
SECRET_BYTES = 32
MOST_LIVE_TOKENS = 10_000
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
SET_IN_THE_SETTINGS = "STUDY_TOKEN"  # who comes with the settings' own token
# Actors that are no tokens: what they did could not be told from what such a token does.
RESERVED = frozenset({SET_IN_THE_SETTINGS, "recovery"})


@stored_as("token.issued.v1")
class TokenIssued(Fact, frozen=True, kw_only=True):
    """Somebody was given a token. All tokens lie in one stream, whose version guards that a live name is unique.

    sha256: of the token. It is 256 bits of chance, which nobody guesses, so that a slow hash as passwords need it
    would only make each request slow.
    """

    token_id: UUID
    name: str
    scope: Scope
    sha256: str
    expires_at: datetime | None = None


@stored_as("token.revoked.v1")
class TokenRevoked(Fact, frozen=True, kw_only=True):
    """A token counts no longer; its name may be given to another one. It lies in the stream of all tokens."""

    token_id: UUID
    name: str


class Token(Struct, frozen=True, kw_only=True):
    """A token that was issued, as those who check it need it."""

    token_id: UUID
    name: str
    scope: Scope
    sha256: str
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


class TokenBook:
    """The tokens that were issued and not revoked: a fold over their events, in order."""

    def __init__(self) -> None:
        self._by_name: dict[str, Token] = {}
        self._by_hash: dict[str, Token] = {}

    def apply(self, facts: Iterable[Fact]) -> None:
        """Take in what happened next."""
        for fact in facts:
            match fact:
                case TokenIssued():
                    self._forget(fact.name)  # whose name was free again, so that it had expired
                    token = Token(
                        token_id=fact.token_id,
                        name=fact.name,
                        scope=fact.scope,
                        sha256=fact.sha256,
                        expires_at=fact.expires_at,
                    )
                    self._by_name[token.name] = self._by_hash[token.sha256] = token
                case TokenRevoked(name=name):
                    self._forget(name)

    def with_hash(self, sha256: str, now: datetime) -> Token | None:
        """The live token with this hash, if there is one."""
        token = self._by_hash.get(sha256)
        return token if token is not None and token.is_live(now) else None

    def has_live(self, now: datetime) -> bool:
        """Whether anybody could come in with a token."""
        return any(token.is_live(now) for token in self._by_name.values())

    def issue(self, issued: TokenIssued, now: datetime) -> TokenIssued:
        """The fact, if it may happen. Raises Rejected, Conflict when the name is a live token's."""
        checked_token_name(issued.name)
        if issued.scope not in SCOPES:
            raise Rejected(f"scope: {issued.scope[:40]!r} is none of {', '.join(SCOPES)}", fields=("scope",))
        if issued.expires_at is not None and issued.expires_at <= now:
            raise Rejected(f"expires_at: {issued.expires_at.isoformat()} has passed already", fields=("expires_at",))
        standing = self._by_name.get(issued.name)
        if standing is not None and standing.is_live(now):
            raise Conflict(
                f"There is a token {issued.name!r} already; revoke it first, or choose another name",
                existing_id=str(standing.token_id),
            )
        if len(self._by_name) >= MOST_LIVE_TOKENS and standing is None:
            raise Rejected(f"There are {MOST_LIVE_TOKENS:,} tokens already; revoke some first", fields=("name",))
        return issued

    def revoke(self, name: str) -> TokenRevoked:
        """The fact that takes a token back, also one that has expired. Raises NotFound."""
        standing = self._by_name.get(name)
        if standing is None:
            raise NotFound(f"There is no token {name[:64]!r} to revoke; `study token list` shows the ones there are")
        return TokenRevoked(token_id=standing.token_id, name=name)

    def _forget(self, name: str) -> None:
        token = self._by_name.pop(name, None)
        if token is not None:
            self._by_hash.pop(token.sha256, None)


def checked_token_name(name: str) -> str:
    """A name for a token, which is the actor of all that is done with it. Raises Rejected."""
    if not NAME.fullmatch(name):
        raise Rejected(
            f"A token's name has 1 to 64 letters, digits, _, ., @ and -, and begins with a letter or digit, "
            f"not {name[:64]!r}",
            fields=("name",),
        )
    if name in RESERVED:
        raise Rejected(f"{name!r} is an actor of its own; choose another name", fields=("name",))
    return name


def allows(given: Scope, needed: Scope) -> bool:
    """Whether a token of one scope may do what needs another."""
    return SCOPES.index(given) >= SCOPES.index(needed)


def hash_of_token(token: str) -> str:
    """What is stored of a token, and compared: its SHA-256."""
    return sha256_hex(token.encode())
