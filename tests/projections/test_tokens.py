"""Given that tokens were issued and revoked, then the list says which stood at any position."""

from uuid import UUID

from msgspec.structs import replace

from domain.tokens import TOKENS_STREAM_ID, TokenIssued, TokenRevoked
from projections.paging import Paging
from tests.support.facts import EXAMPLES

ISSUED = next(fact for fact in EXAMPLES if isinstance(fact, TokenIssued))
ONE, TWO = UUID(int=1), UUID(int=2)


async def test_a_name_may_stand_for_one_token_after_the_other(log, follower, queries, sql):
    log.write(TOKENS_STREAM_ID, replace(ISSUED, token_id=ONE), TokenRevoked(token_id=ONE, name="ci"))
    follower.catch_up()
    log.write(TOKENS_STREAM_ID, replace(ISSUED, token_id=TWO, scope="read", expires_at=None))
    follower.catch_up()
    log.write(TOKENS_STREAM_ID, TokenRevoked(token_id=TWO, name="ci"))
    follower.catch_up()
    seen = [
        [(token["token_id"], token["status"]) for token in (await queries.tokens.tokens(as_of=position))["items"]]
        for position in range(5)
    ]
    assert seen == [
        [],
        [(str(ONE), "issued")],
        [(str(ONE), "revoked")],
        [(str(TWO), "issued"), (str(ONE), "revoked")],
        [(str(TWO), "revoked"), (str(ONE), "revoked")],
    ]
    (newest,) = (await queries.tokens.tokens(page=Paging(1)))["items"]
    assert (newest["name"], newest["scope"], newest["issued_by"], newest["revoked_by"]) == ("ci", "read", "ada", "ada")
    assert sql("SELECT name, scope, revoked_at IS NULL FROM study.tokens ORDER BY position") == [
        ("ci", "write", False),
        ("ci", "read", False),
    ]


async def test_no_table_and_no_view_holds_a_hash(log, follower, sql):
    log.write(TOKENS_STREAM_ID, ISSUED)
    follower.catch_up()
    held = sql("SELECT t::text FROM study.tokens t UNION ALL SELECT t::text FROM projections.tokens t")
    assert len(held) == 2
    assert not any(ISSUED.sha256 in row for (row,) in held)
