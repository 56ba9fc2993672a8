"""Bytes that earlier versions stored must decode for ever, to the same facts.

`golden.json` holds real stored states. To add the bytes of a new event, run this file as a module; bytes that stand
there already are never rewritten.
"""

import base64
import json
from pathlib import Path
from uuid import UUID

import pytest

from application.ports import NewEvent
from domain.events import FACTS, Fact
from infrastructure.event_store.mapper import FactMapper
from tests.support.facts import ENVELOPE, EXAMPLES, LATER_EXAMPLES

GOLDEN = Path(__file__).with_name("golden.json")
WRITTEN = {**{fact.stored_name: fact for fact in EXAMPLES}, **LATER_EXAMPLES}


def encoded(fact: Fact) -> bytes:
    event = NewEvent(stream_id=UUID(int=1), version=1, fact=fact, envelope=ENVELOPE)
    return bytes(FactMapper().to_stored_event(event).state)


def test_every_event_has_golden_bytes() -> None:
    assert set(json.loads(GOLDEN.read_text())) == {*FACTS.current, *FACTS.retired, *LATER_EXAMPLES}


@pytest.mark.parametrize("label", json.loads(GOLDEN.read_text()))
def test_bytes_of_every_version_are_read_as_todays_fact(label: str) -> None:
    name = label.partition(" ")[0]
    _, fact = FactMapper().decode(name, base64.b64decode(json.loads(GOLDEN.read_text())[label]))
    assert FACTS.current[fact.stored_name] is type(fact)


@pytest.mark.parametrize("name", sorted(FACTS.current))
def test_no_version_is_left_out(name: str) -> None:
    thing, _, number = name.rpartition(".v")
    assert set(FACTS.stored_names(FACTS.current[name])) == {f"{thing}.v{n}" for n in range(1, int(number) + 1)}


@pytest.mark.parametrize("label", WRITTEN)
def test_golden_bytes_decode_to_the_same_fact(label: str) -> None:
    fact = WRITTEN[label]
    state = base64.b64decode(json.loads(GOLDEN.read_text())[label])
    assert FactMapper().decode(fact.stored_name, state) == (ENVELOPE, fact)


@pytest.mark.parametrize("label", WRITTEN)
def test_todays_bytes_are_the_golden_ones(label: str) -> None:
    assert base64.b64encode(encoded(WRITTEN[label])).decode() == json.loads(GOLDEN.read_text())[label]


if __name__ == "__main__":
    standing = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    fresh = {label: base64.b64encode(encoded(fact)).decode() for label, fact in WRITTEN.items()}
    GOLDEN.write_text(json.dumps({**fresh, **standing}, indent=1) + "\n")
