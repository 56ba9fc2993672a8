"""What metadata can't hold is refused before it is stored, by whatever face it came."""

from typing import Any

import pytest

from application.ports import NewEvent
from domain.errors import Rejected
from domain.groups import GroupCreated
from domain.nesting import DEEPEST
from infrastructure.event_store.mapper import FactMapper
from tests.support.facts import ENVELOPE, ID


def encoded(value: Any) -> bytes:
    fact = GroupCreated(group_type="run", name="odd", metadata={"a": value})
    return FactMapper().encode(NewEvent(stream_id=ID, version=1, fact=fact, envelope=ENVELOPE))


def nested(depth: int) -> Any:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (2**64, "beyond 64 bits"),
        (-(2**63) - 1, "beyond 64 bits"),
        ("\ud800", "half a character"),
        (nested(DEEPEST), "nested more than 100 deep"),
        (nested(100_000), "nested more than 100 deep"),
    ],
)
def test_what_can_not_be_kept_is_refused_in_words(value: Any, says: str) -> None:
    with pytest.raises(Rejected, match=says):
        encoded(value)


def test_what_is_just_within_the_limits_is_kept() -> None:
    for value in (2**64 - 1, -(2**63), nested(DEEPEST - 2)):
        _, fact = FactMapper().decode("group.created.v1", encoded(value))
        assert isinstance(fact, GroupCreated)
        assert fact.metadata == {"a": value}
