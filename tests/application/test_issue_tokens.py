"""Given tokens, when one is issued, revoked or shown, then these events, this caller, or this error."""

import asyncio
from datetime import timedelta

import pytest

from application.check_tokens import LOOK_AGAIN_SECONDS, READ_ON_SECONDS, Caller, CheckTokens
from application.issue_tokens import IssueTokens
from domain.errors import Conflict, NotFound, Rejected
from domain.tokens import MOST_LIVE_TOKENS, PREFIX, TokenBook, TokenIssued, TokenRevoked, allows, hash_of_token
from tests.support.given_when_then import CONTEXT, START, ListStore, SteppingClock, notebook

LATER = START + timedelta(hours=1)
SETTINGS_TOKEN = "a-token-of-the-settings"


def chance(count: int) -> bytes:
    """Different each time, and known to the test's failure."""
    chance.calls += 1
    return bytes([chance.calls] * count)


chance.calls = 0


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def store() -> ListStore:
    return ListStore()


@pytest.fixture
def tokens(store: ListStore, clock: SteppingClock) -> IssueTokens:
    return IssueTokens(notebook(store, clock), chance)


@pytest.fixture
def check(store: ListStore, clock: SteppingClock) -> CheckTokens:
    return CheckTokens(store, clock, settings_token=SETTINGS_TOKEN)


async def test_what_is_recorded_of_a_token_is_its_hash(tokens: IssueTokens, store: ListStore) -> None:
    issued = await tokens.issue("ci", "write", CONTEXT, expires_at=LATER)
    assert issued.token.startswith(PREFIX)
    assert len(issued.token) == len(PREFIX) + 43
    (fact,) = store.facts()
    assert fact == TokenIssued(
        token_id=issued.token_id, name="ci", scope="write", sha256=hash_of_token(issued.token), expires_at=LATER
    )
    assert issued.token.removeprefix(PREFIX) not in str(store.events)


async def test_a_token_counts_until_it_is_revoked(
    tokens: IssueTokens, check: CheckTokens, clock: SteppingClock
) -> None:
    issued = await tokens.issue("ci", "read", CONTEXT)
    assert await check(issued.token) == Caller("ci", "read")
    assert await check(issued.token + "x") is None
    await tokens.revoke("ci", CONTEXT)
    assert await check(issued.token) == Caller("ci", "read")  # until the next look
    await check.read_on()
    assert await check(issued.token) is None
    assert READ_ON_SECONDS < 1


async def test_a_token_counts_until_it_expires(tokens: IssueTokens, check: CheckTokens, clock: SteppingClock) -> None:
    issued = await tokens.issue("ci", "read", CONTEXT, expires_at=LATER)
    assert await check(issued.token) is not None
    clock.seconds = 3600
    assert await check(issued.token) is None
    again = await tokens.issue("ci", "read", CONTEXT)
    await check.read_on()
    assert await check(again.token) == Caller("ci", "read")
    assert await check(issued.token) is None


async def test_a_token_that_nobody_knows_is_looked_for_but_not_each_time(
    tokens: IssueTokens, check: CheckTokens, store: ListStore, clock: SteppingClock
) -> None:
    assert await check(PREFIX + "unknown") is None
    issued = await tokens.issue("ci", "read", CONTEXT)
    assert await check(issued.token) is None
    clock.seconds += LOOK_AGAIN_SECONDS
    assert await check(issued.token) is not None
    store.unavailable = True
    clock.seconds += LOOK_AGAIN_SECONDS
    assert await check(PREFIX + "unknown") is None
    assert await check(issued.token) is not None  # nothing can be revoked while the store is away


async def test_the_settings_token_is_an_admins(check: CheckTokens, store: ListStore, clock: SteppingClock) -> None:
    assert await check(SETTINGS_TOKEN) == Caller("STUDY_TOKEN", "admin")
    assert await check.is_there_one()
    assert not await CheckTokens(store, clock, settings_token=None).is_there_one()


async def test_a_server_keeps_reading_on(tokens: IssueTokens, check: CheckTokens, clock: SteppingClock) -> None:
    reading = asyncio.create_task(check.read_on_for_ever())
    issued = await tokens.issue("ci", "admin", CONTEXT)
    while not clock.slept:
        await asyncio.sleep(0)
    assert set(clock.slept) == {READ_ON_SECONDS}
    assert await check(issued.token) == Caller("ci", "admin")
    reading.cancel()


async def test_a_live_name_is_given_once_however_many_ask(tokens: IssueTokens, store: ListStore) -> None:
    asked = await asyncio.gather(
        *(tokens.issue(name, "read", CONTEXT) for name in ("ci", "ci", "ada")), return_exceptions=True
    )
    refused = [each for each in asked if isinstance(each, Conflict)]
    assert len(refused) == 1
    assert "revoke it first" in str(refused[0])
    assert sorted(fact.name for fact in store.facts() if isinstance(fact, TokenIssued)) == ["ada", "ci"]


async def test_a_revoked_name_may_be_given_again(tokens: IssueTokens, store: ListStore) -> None:
    first = await tokens.issue("ci", "read", CONTEXT)
    await tokens.revoke("ci", CONTEXT)
    with pytest.raises(NotFound, match="no token 'ci'"):
        await tokens.revoke("ci", CONTEXT)
    second = await tokens.issue("ci", "read", CONTEXT)
    assert second.token != first.token
    assert [type(fact) for fact in store.facts()] == [TokenIssued, TokenRevoked, TokenIssued]


@pytest.mark.parametrize(
    ("name", "scope", "hours", "field"),
    [
        ("", "read", 1, "name"),
        ("a b", "read", 1, "name"),
        ("x" * 65, "read", 1, "name"),
        ("-rf", "read", 1, "name"),
        ("STUDY_TOKEN", "read", 1, "name"),
        ("recovery", "read", 1, "name"),
        ("ci", "owner", 1, "scope"),
        ("ci", "read", 0, "expires_at"),
    ],
)
async def test_what_is_no_token_is_refused(
    tokens: IssueTokens, store: ListStore, name: str, scope: str, hours: int, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        await tokens.issue(name, scope, CONTEXT, expires_at=START + timedelta(hours=hours))  # type: ignore[arg-type]
    assert refused.value.fields == (field,)
    assert not store.events


def test_there_are_only_so_many_tokens() -> None:
    book = TokenBook()
    issued = TokenIssued(token_id=CONTEXT.correlation_id, name="ci", scope="read", sha256="")
    book.apply(
        TokenIssued(token_id=CONTEXT.correlation_id, name=f"t{number}", scope="read", sha256=f"{number}")
        for number in range(MOST_LIVE_TOKENS)
    )
    with pytest.raises(Rejected, match="revoke some"):
        book.issue(issued, START)
    book.apply([book.revoke("t0")])
    assert book.issue(issued, START) is issued


def test_each_scope_may_do_what_those_before_it_may() -> None:
    allowed = {(given, needed) for given in ("read", "write", "admin") for needed in ("read", "write", "admin")}
    refused = {("read", "write"), ("read", "admin"), ("write", "admin")}
    assert {pair for pair in allowed if allows(*pair)} == allowed - refused  # type: ignore[arg-type]
