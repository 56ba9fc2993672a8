"""The log, looked through: every event once and in order, by any filter, a bounded look at a time."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application import audit_log
from application.audit_log import AuditLog, EventFilter, entity_of
from domain.calls import CallRequested
from domain.errors import Rejected
from domain.groups import LINKS_STREAM_ID, GroupCreated, GroupLinked, GroupMembersAdded, Member
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.projections.log import Log, answered, chat, failed, requested
from tests.support.thermometers import today

GROUP, CHILD = UUID(int=91), UUID(int=92)


class About:
    """The port EventsAbout, over what a test says."""

    def __init__(self) -> None:
        self.positions: list[int] = []

    async def positions_about(self, entity_id: UUID, *, after: int, until: int, limit: int) -> list[int]:
        return [position for position in self.positions if after < position <= until][:limit]


@pytest.fixture
def store(database: Database):
    store = PostgresEventStore(database.application_uri, process=1)
    yield store
    store.close()


@pytest.fixture
def log(database: Database):
    log = Log(database.application_uri)
    yield log
    log.close()


async def positions(store: PostgresEventStore, limit: int = 3, about: About | None = None, **filters) -> list[int]:
    """All that pass, page by page."""
    audit, found, after = AuditLog(store, about or About()), [], 0
    last = store.last_position()
    while True:
        page = await audit.page(EventFilter(**filters), after=after, until=last, limit=limit)
        assert len(page.events) <= limit
        found += [event.position for event in page.events]
        if page.at_end:
            return found
        assert page.looked_to > after
        after = page.looked_to


async def test_every_event_comes_once_and_in_order_however_the_pages_are_cut(log, store):
    for number in range(1, 6):
        chat(log, number, answered())
    for limit in (1, 3, 10, 1000):
        assert await positions(store, limit) == list(range(1, 11))


async def test_each_filter_leaves_what_it_says(log, store, monkeypatch):
    chat(log, 1, answered())
    log.write(GROUP, GroupCreated(group_type="run", name="r"))
    chat(log, 2, failed())
    everything = log.page(after=0, limit=100)
    for chunk in (1, 2, 2000):
        monkeypatch.setattr(audit_log, "CHUNK", chunk)
        assert await positions(store, kind="call") == [1, 2, 4, 5]
        assert await positions(store, kind="group") == [3]
        assert await positions(store, event="call.requested") == [1, 4]
        assert await positions(store, event="call.requested.v1") == [1, 4]
        assert await positions(store, kind="call", event="group.created") == []
        assert await positions(store, entity=UUID(int=2)) == [4, 5]
        assert await positions(store, entity=UUID(int=2), event="call.failed") == [5]
        assert await positions(store, actor="ada") == [1, 2, 3, 4, 5]
        assert await positions(store, actor="bob") == []
        assert await positions(store, process="00000000000000a1", kind="group") == [3]
        assert await positions(store, correlation_id=UUID(int=7), limit=2) == [1, 2, 3, 4, 5]
        assert await positions(store, correlation_id=UUID(int=8)) == []
        third = everything[2].recorded_at
        assert await positions(store, since=third) == [3, 4, 5]
        assert await positions(store, until=third) == [1, 2]
        assert await positions(store, since=third, until=third + timedelta(microseconds=1)) == [3]
    assert await positions(store, since=everything[-1].recorded_at + timedelta(hours=1)) == []


async def test_what_is_about_a_thing_in_other_streams_is_told_in_its_place(log, store):
    about = About()
    log.write(GROUP, GroupCreated(group_type="run", name="r"))
    chat(log, 1)
    member = GroupMembersAdded(group_id=GROUP, members=(Member(call_id=UUID(int=1)),))
    about.positions = [
        log.write(uuid4(), member),
        log.write(LINKS_STREAM_ID, GroupLinked(parent_group_id=GROUP, child_group_id=CHILD, link_type="step")),
    ]
    chat(log, 2)
    for limit in (1, 2, 100):
        assert await positions(store, limit, about, entity=GROUP) == [1, 3, 4]
    events = log.page(after=0, limit=10)
    assert [entity_of(event) for event in events] == [
        ("group", GROUP), ("call", UUID(int=1)), ("group", GROUP), ("group", GROUP), ("call", UUID(int=2)),
    ]  # fmt: skip


async def test_one_page_looks_at_a_bounded_part_of_the_log(log, store, monkeypatch):
    log.write_all([(UUID(int=number), requested(), ()) for number in range(1, 101)])
    monkeypatch.setattr(audit_log, "LOOKED_AT", 30)
    page = await AuditLog(store, About()).page(EventFilter(actor="bob"), after=0, until=100, limit=5)
    assert (page.events, page.looked_to, page.at_end) == ((), 30, False)
    page = await AuditLog(store, About()).page(EventFilter(kind="group"), after=90, until=100, limit=5)
    assert (page.events, page.looked_to, page.at_end) == ((), 100, True)
    assert await positions(store, actor="bob") == []
    assert await positions(store, 7, actor="ada") == list(range(1, 101))


async def test_what_no_event_is_called_is_rejected_with_what_there_is(store):
    for wanted, field in ((EventFilter(kind="dog"), "kind"), (EventFilter(event="call.forgotten"), "event")):
        with pytest.raises(Rejected) as rejected:
            await AuditLog(store, About()).page(wanted, after=0, until=0, limit=1)
        assert rejected.value.fields == (field,)


def test_a_name_without_its_version_means_all_versions():
    names = EventFilter(event="temperature.measured").names(today())
    assert names == ("temperature.measured.v1", "temperature.measured.v2", "temperature.measured.v3")
    assert EventFilter(event="temperature.measured.v2").names(today()) == ("temperature.measured.v2",)
    assert EventFilter().names(today()) is None
    assert CallRequested.stored_name in (EventFilter(kind="call").names() or ())
