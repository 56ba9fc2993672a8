"""Tokens: a row for each that was issued, and when it was taken back. Their hashes stay in the log."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.events import RecordedEvent
from domain.tokens import TokenIssued, TokenRevoked
from projections.read_model import Change, Insert, ReadModel, Table, Update, View

TOKENS_TABLE = Table(
    name="tokens",
    columns={
        "token_id": "uuid NOT NULL",
        "name": "text NOT NULL",
        "scope": "text NOT NULL",
        "expires_at": "timestamptz",
        "issued_at": "timestamptz NOT NULL",
        "issued_by": "text NOT NULL",
        "issued_position": "bigint NOT NULL",
        "revoked_position": "bigint",
        "revoked_at": "timestamptz",
        "revoked_by": "text",
    },
    key=("token_id",),
    indexes=("(issued_position)",),
)

# Whether it has expired is the clock's to say, so that no row does.
TOKENS_VIEW = View(
    name="tokens",
    select="""
        SELECT token_id, name, scope, expires_at, issued_at, issued_by, revoked_at, revoked_by,
            issued_position AS position
        FROM {schema}.tokens
    """,
)

REVOKED_COLUMNS = ("revoked_position", "revoked_at", "revoked_by")
_LIVE = (None,) * len(REVOKED_COLUMNS)

_insert_tokens = Insert(TOKENS_TABLE)
_revoke_tokens = Update(TOKENS_TABLE, *REVOKED_COLUMNS)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """A row for each token; one that was issued in an earlier batch is updated when it is revoked."""
    issued: dict[UUID, tuple[Any, ...]] = {}
    revoked: dict[UUID, tuple[Any, ...]] = {}
    for event in events:
        at, actor = event.envelope.occurred_at, event.envelope.actor
        match event.fact:
            case TokenIssued() as fact:
                issued[fact.token_id] = (
                    fact.token_id,
                    fact.name,
                    fact.scope,
                    fact.expires_at,
                    at,
                    actor,
                    event.position,
                )
            case TokenRevoked(token_id=token_id):
                revoked[token_id] = (event.position, at, actor)
    return [
        *_insert_tokens([(*row, *revoked.get(token_id, _LIVE)) for token_id, row in issued.items()]),
        *_revoke_tokens([(token_id, *row) for token_id, row in revoked.items() if token_id not in issued]),
    ]


TOKENS = ReadModel(
    name="tokens",
    version=1,
    reads=(TokenIssued, TokenRevoked),
    tables=(TOKENS_TABLE,),
    views=(TOKENS_VIEW,),
    changes=changes,
)
