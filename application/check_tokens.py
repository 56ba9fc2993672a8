"""Whose token it is: known to this process without asking anybody, and read on from the log all the time."""

import asyncio
from hmac import compare_digest

import structlog
from msgspec import Struct

from application.ports import Clock, EventStore
from domain.errors import Unavailable
from domain.tokens import (
    PREFIX,
    SET_IN_THE_SETTINGS,
    TOKENS_STREAM_ID,
    Scope,
    TokenBook,
    hash_of_token,
)

READ_ON_SECONDS = 0.4  # a token that was revoked counts no longer than this, and a look at the log
LOOK_AGAIN_SECONDS = 0.1  # for a token that nobody knows, which may be newer than the last look

log = structlog.get_logger(__name__)


class Caller(Struct, frozen=True):
    """Who asks for something over HTTP, and what they may do. `limited`: so much at a time, as the settings say."""

    name: str
    scope: Scope
    limited: bool = True


class CheckTokens:
    """Knows the live tokens of a store, and the one that the settings name.

    All tokens lie in one stream, so that reading on is one look behind the last version, and no read model that is
    behind, or being rebuilt, lets a token live longer. While the store is away, what was known counts: nothing could
    be revoked meanwhile.
    """

    def __init__(self, store: EventStore, clock: Clock, *, settings_token: str | None) -> None:
        self._store = store
        self._clock = clock
        self._settings_hash = None if settings_token is None else hash_of_token(settings_token)
        self._book = TokenBook()
        self._version = 0
        self._reading = asyncio.Lock()
        self._looked_at = float("-inf")

    async def __call__(self, token: str) -> Caller | None:
        """Who comes with this token; None for one that is unknown, revoked or expired."""
        sha256 = hash_of_token(token)
        if self._settings_hash is not None and compare_digest(sha256, self._settings_hash):
            return Caller(SET_IN_THE_SETTINGS, "admin")
        found = self._known(sha256)
        if found is None and token.startswith(PREFIX):
            await self._look_again()
            found = self._known(sha256)
        return found

    async def is_there_one(self) -> bool:
        """Whether anybody could come in with a token. Raises Unavailable."""
        await self.read_on()
        return self._settings_hash is not None or self._book.has_live(self._clock.now())

    async def read_on(self) -> None:
        """Take in what was issued and revoked since the last look. Raises Unavailable."""
        async with self._reading:
            events = await self._store.read_stream(TOKENS_STREAM_ID, after_version=self._version)
            self._looked_at = self._clock.monotonic()
            if events:
                self._book.apply(event.fact for event in events)
                self._version = events[-1].version

    async def read_on_for_ever(self) -> None:
        """Keep up, for as long as a server serves."""
        while True:
            try:
                await self.read_on()
            except Unavailable as error:
                log.debug("tokens wait for the store", reason=str(error))
            await self._clock.sleep(READ_ON_SECONDS)

    def _known(self, sha256: str) -> Caller | None:
        # How long a look by the hash takes says nothing of any stored token: nobody can choose what theirs hashes to.
        token = self._book.with_hash(sha256, self._clock.now())
        if token is None or not compare_digest(token.sha256, sha256):
            return None
        return Caller(token.name, token.scope)

    async def _look_again(self) -> None:
        if self._clock.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS:
            try:
                await self.read_on()
            except Unavailable as error:
                log.debug("tokens wait for the store", reason=str(error))
