"""Postgres can't hold a NUL, and nobody can be kept from writing one: no read model may stop at it."""

from typing import Any
from uuid import UUID

import msgspec

from domain.events import Fact
from tests.support.facts import EXAMPLES, LATER_EXAMPLES


def test_a_nul_in_any_text_of_any_event_stops_no_read_model(log, follower, sql):
    for number, fact in enumerate([*EXAMPLES, *LATER_EXAMPLES.values()]):
        log.write(UUID(int=1000 + number), _with_nuls(fact))
    follower.catch_up()
    assert sql("SELECT name, failed_reason FROM projections.generations WHERE failed_reason IS NOT NULL") == []


def _with_nuls(fact: Fact) -> Fact:
    """The fact with a NUL at the end of each text that may be any text."""
    for path in _paths_of_texts(msgspec.to_builtins(fact)):
        try:
            fact = msgspec.convert(_with_nul_at(msgspec.to_builtins(fact), path), type(fact))
        except msgspec.ValidationError:
            continue  # it is an id, a time or one of some words
    return fact


def _paths_of_texts(value: Any) -> list[tuple[Any, ...]]:
    if isinstance(value, str):
        return [()]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return [(key, *path) for key, member in members for path in _paths_of_texts(member)]


def _with_nul_at(value: Any, path: tuple[Any, ...]) -> Any:
    if not path:
        return value + "\x00"
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[path[0]] = _with_nul_at(changed[path[0]], path[1:])
    return changed
