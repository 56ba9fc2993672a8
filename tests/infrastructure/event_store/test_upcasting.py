"""Bytes that earlier versions of the software stored are read as the newest fact, whoever reads."""

from typing import Any
from uuid import UUID

from application.ports import Append, NewEvent
from domain.events import Fact, FactRegistry
from infrastructure.event_store.mapper import FactMapper
from projections.follow import Follower
from projections.generations import install
from projections.read_model import Insert, ReadModel, Table, View
from tests.conftest import Database
from tests.projections.conftest import Connect, connect
from tests.projections.log import Log
from tests.support.facts import ENVELOPE
from tests.support.thermometers import TemperatureMeasured, at_first, later, today

__all__ = ["connect"]

KELVIN = Table(name="kelvin", columns={"stream_id": "uuid NOT NULL", "kelvin": "float8 NOT NULL"}, key=("stream_id",))
_insert = Insert(KELVIN)
MODEL = ReadModel(
    name="kelvin",
    version=1,
    reads=(TemperatureMeasured,),
    tables=(KELVIN,),
    views=(View(name="kelvin", select="SELECT stream_id, kelvin FROM {schema}.kelvin"),),
    changes=lambda events: _insert([(event.stream_id, event.fact.kelvin) for event in events]),  # type: ignore[attr-defined]
)
AS_READ_TODAY = [
    TemperatureMeasured(kelvin=373.15, place="unknown"),
    TemperatureMeasured(kelvin=300.0, place="unknown"),
    TemperatureMeasured(kelvin=4.0, place="the lab"),
]


def write(database: Database, registry: FactRegistry, number: int, **fields: Any) -> None:
    """Append as the software that knew this registry did."""
    log = Log(database.application_uri, registry)
    (fact_type,) = registry.current.values()
    fact: Fact = fact_type(**fields)
    event = NewEvent(stream_id=UUID(int=number), version=1, fact=fact, envelope=ENVELOPE)
    log.recorder.insert_appends(log.connection, [log.recorder.encode(Append(events=(event,)))], process=1)
    log.close()


def test_three_versions_in_one_log_are_read_and_projected_as_one(database: Database, connect: Connect) -> None:
    write(database, at_first(), 1, fahrenheit=212.0)
    write(database, later(), 2, celsius=26.85)
    write(database, today(), 3, kelvin=4.0, place="the lab")
    log = Log(database.application_uri, today())
    assert [event.fact for event in log.page(after=0, limit=10)] == AS_READ_TODAY
    with connect() as connection:
        install(connection, [MODEL])
    follower = Follower(log, connect, [MODEL])
    assert follower.catch_up().failures == ()
    with connect() as connection:
        assert connection.execute("SELECT kelvin FROM study.kelvin ORDER BY stream_id").fetchall() == [
            (373.15,),
            (300.0,),
            (4.0,),
        ]
        topics = connection.execute("SELECT topic FROM events.events ORDER BY notification_id").fetchall()
    assert topics == [(f"temperature.measured.v{number}",) for number in (1, 2, 3)]
    follower.close()
    log.close()


def test_a_current_version_is_decoded_by_nothing_but_its_decoder() -> None:
    mapper = FactMapper(today())
    event = NewEvent(stream_id=UUID(int=1), version=1, fact=AS_READ_TODAY[2], envelope=ENVELOPE)
    stored = mapper.to_stored_event(event)
    assert mapper.decode(stored.topic, bytes(stored.state)) == (ENVELOPE, AS_READ_TODAY[2])
    assert type(mapper._decoders[stored.topic]).__name__ == "builtin_function_or_method"
