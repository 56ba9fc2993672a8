"""What finding out who asks adds to a request: `python -m benchmarks.access`. Prints microseconds a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from application.check_tokens import Caller, CheckTokens
from domain.tokens import PREFIX, TOKENS_STREAM_ID, TokenIssued, hash_of_token
from interfaces.http.gate import Gate
from interfaces.http.limits import Limits
from interfaces.http.scopes import may_ask
from tests.support.given_when_then import ListStore, SteppingClock

REQUESTS = 100_000
LIVE_TOKENS = 1_000


async def main() -> None:
    """Time the parts that a token adds, over and over."""
    store = ListStore()
    tokens = [PREFIX + f"{number:043}" for number in range(LIVE_TOKENS)]
    for number, token in enumerate(tokens):
        issued = TokenIssued(token_id=uuid4(), name=f"t{number}", scope="write", sha256=hash_of_token(token))
        store.given(TOKENS_STREAM_ID, issued)
    check = CheckTokens(store, SteppingClock(), settings_token="a-token-of-the-settings")
    await check.read_on()
    study: Any = SimpleNamespace(tokens=SimpleNamespace(caller_of=check), actor="ada")
    limits = Limits(rate=1e9, burst=1_000_000, places=200)

    async def nothing(*_: Any) -> None:
        pass

    gate = Gate(nothing, loopback=False, limits=limits)
    headers = {b"authorization": f"Bearer {tokens[-1]}", b"host": "study.example"}
    connection: Any = SimpleNamespace(
        scope={"method": "POST", "path_template": "/api/calls", "state": {}}, headers=headers
    )
    handler: Any = None

    async def authenticated() -> None:
        caller = await gate.authenticate(study, headers)
        assert isinstance(caller, Caller)
        with limits.place(caller):
            connection.scope["state"]["caller"] = caller
            may_ask(connection, handler)

    microseconds = await _each(authenticated) - await _each(nothing)
    print(f"a known token, one of {LIVE_TOKENS:,}: {microseconds:.1f} µs a request")


async def _each(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    for _ in range(REQUESTS):
        await work()
    return (time.perf_counter() - began) / REQUESTS * 1e6


if __name__ == "__main__":
    asyncio.run(main())
