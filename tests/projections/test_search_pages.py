"""Given two hundred calls in many eras, then a search finds each of them once, page by page, however it looks."""

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from domain.groups import GroupCreated, GroupMembersAdded, Member
from projections import exported_calls, found_calls, search_queries
from projections.call_queries import CallFilter
from projections.compare import checksum
from projections.follow import Follower
from projections.generations import generations, install, opened
from projections.paging import Paging
from projections.queries import Queries
from projections.read_models import READ_MODELS
from projections.rebuild import rebuild
from projections.search import SEARCH
from projections.search_eras import CallSearch
from tests.conftest import fresh_database
from tests.projections.log import NOON, Log, failed
from tests.projections.test_search import ask, tell

COUNT = 200
GROUP, LARGE = UUID(int=5000), UUID(int=5001)
FAILED = list(range(198, 0, -9))


@pytest.fixture(scope="module")
def many(server, template):
    """Calls in eras of sixteen positions: `common` in every prompt, `rare` in three, `late` in answers, some failed."""
    with fresh_database(server, template) as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.search.ERA_BITS", 4)
        patch.setattr(search_queries, "ERA_BITS", 4)
        patch.setattr(found_calls, "ERA_BITS", 4)
        patch.setattr(search_queries, "WALKED", 10)
        patch.setattr(search_queries, "PASSING_FIRST", 5)
        patch.setattr(search_queries, "PASSING", 12)
        patch.setattr(search_queries, "PASSINGS", 1)
        patch.setattr(search_queries, "FIRST_ERAS", 3)
        patch.setattr("projections.search.STRETCH_BITS", 3)
        patch.setattr(search_queries, "STRETCH_BITS", 3)
        patch.setattr(found_calls, "STRETCH_BITS", 3)
        log = Log(database.application_uri)
        with psycopg.connect(database.application_uri) as connection:
            install(connection, READ_MODELS)
        follower = Follower(log, lambda: psycopg.connect(database.application_uri), READ_MODELS)
        for number in range(1, COUNT + 1):
            ask(log, UUID(int=number), f"common text {number} {'rare' if number in (3, 90, 199) else ''}")
            if number in FAILED:
                log.write(UUID(int=number), failed())
        for number in range(1, COUNT + 1, 7):
            if number not in FAILED:
                tell(log, UUID(int=number), "late common answer")
        for group, numbers in ((GROUP, (5, 77, 150)), (LARGE, range(10, COUNT + 1, 10))):
            log.write(group, GroupCreated(group_type="run", name=str(group)))
            members = tuple(Member(call_id=UUID(int=number)) for number in numbers)
            log.write(UUID(int=group.int + 100), GroupMembersAdded(group_id=group, members=members))
        follower.catch_up()
        yield log, follower, database
        follower.close()
        log.close()


@pytest.fixture
async def queries(many):
    async with AsyncConnectionPool(many[2].application_uri, min_size=1, max_size=2, open=False) as pool:
        yield Queries(pool)


async def every_page(queries, **wanted):
    """Numbers of the calls on all pages, in order."""
    ids, cursor = [], None
    while True:
        page = await queries.search.calls(CallSearch(**wanted), page=Paging(7, cursor))
        ids += [UUID(each["call_id"]).int for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return ids


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("common", list(range(COUNT, 0, -1))),
        ("rare", [199, 90, 3]),
        ("late", [number for number in range(197, 0, -7) if number not in FAILED]),
        ("common -late", list(range(COUNT, 0, -1))),
        ("absent", []),
    ],
)
@pytest.mark.parametrize("order", ["newest", "rank"])
async def test_pages_show_every_call_once_whatever_a_words_frequency(queries, text, expected, order):
    ids = await every_page(queries, search=text, order=order)
    assert (ids if order == "newest" else sorted(ids, reverse=True)) == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"status": "failed"}, FAILED),
        ({"status": "failed", "part": "answer"}, []),
        ({"status": "cancelled"}, []),
        ({"actor": "somebody else"}, []),
        ({"group_id": GROUP}, [150, 77, 5]),
        ({"group_id": LARGE}, list(range(COUNT, 0, -10))),
        ({"group_id": LARGE, "status": "failed"}, [180, 90]),
        ({"until": NOON}, []),
        ({"since": NOON}, list(range(COUNT, 0, -1))),
    ],
)
async def test_pages_show_every_call_once_that_passes_a_filter(queries, filters, expected):
    assert await every_page(queries, search="common", **filters) == expected


async def test_a_groups_calls_are_looked_through_in_as_many_rounds_as_it_takes(queries, monkeypatch):
    monkeypatch.setattr(search_queries, "PASSING_FIRST", 3)
    monkeypatch.setattr(search_queries, "PASSING", 4)
    monkeypatch.setattr(search_queries, "PASSINGS", 10)
    assert await every_page(queries, search="common", group_id=LARGE) == list(range(COUNT, 0, -10))
    assert await every_page(queries, search="rare", group_id=LARGE) == [90]


@pytest.mark.parametrize("filters", [{}, {"status": "failed"}, {"status": "success"}, {"group_id": LARGE}])
async def test_calls_before_a_time_are_those_of_the_list(queries, filters):
    until = NOON + timedelta(seconds=150)
    listed = await queries.calls.calls(CallFilter(until=until, **filters), page=Paging(COUNT))
    numbers = [UUID(each["call_id"]).int for each in listed["items"]]
    assert 0 < len(numbers) < COUNT
    assert await every_page(queries, search="text OR answer", until=until, **filters) == numbers


@pytest.mark.parametrize("order", ["newest", "rank"])
async def test_a_page_is_full_though_the_words_of_calls_are_known_before_the_calls(many, queries, order):
    log, follower, database = many
    new = [UUID(int=number + (order == "rank") * 100) for number in (2001, 2002)]
    for call_id in new:
        ask(log, call_id, "common common")
    ahead = Follower(log, lambda: psycopg.connect(database.application_uri), (SEARCH,))
    ahead.catch_up()
    ahead.close()
    found = await queries.search.calls(CallSearch(search="common", order=order), page=Paging(7))
    assert len(found["items"]) == 7
    assert not {str(call_id) for call_id in new} & {each["call_id"] for each in found["items"]}
    follower.catch_up()


async def test_paging_goes_on_where_it_was_while_calls_come(many, queries):
    log, follower, _ = many
    for order in ("newest", "rank"):
        wanted = CallSearch(search="text", order=order)
        first = await queries.search.calls(wanted, page=Paging(120))
        ask(log, UUID(int=1000 + len(order)), "text text text")
        follower.catch_up()
        second = await queries.search.calls(wanted, page=Paging(120, first["next_cursor"]))
        ids = [UUID(each["call_id"]).int for each in (*first["items"], *second["items"])]
        assert sorted(number for number in ids if number <= COUNT) == list(range(1, COUNT + 1))
        assert len(set(ids)) == len(ids)


def test_a_rebuild_gives_the_same_rows(many):
    _, follower, database = many
    connection = opened(lambda: psycopg.connect(database.application_uri))

    def sums():
        (live,) = [each for each in generations(connection, "live") if each.name == "search"]
        return live.generation, [checksum(connection, live.schema, table) for table in SEARCH.tables]

    generation, before = sums()
    rebuild(follower, "search")
    again, after = sums()
    assert (again > generation, after) == (True, before)
    connection.close()


@pytest.mark.parametrize(
    "wanted",
    [
        {"search": "common"},
        {"search": "rare OR late"},
        {"search": "late", "part": "answer"},
        {"search": "-common", "part": "answer"},
        {"search": "common", "status": "failed"},
        {"search": "common", "group_id": LARGE},
        {"search": "common", "model": "nobody's"},
        {"search": "rare", "provider": "OpenAI", "since": NOON, "until": NOON + timedelta(seconds=100)},
        {"search": "never"},
    ],
    ids=str,
)
async def test_an_export_has_what_all_pages_of_a_search_have_the_oldest_first(many, queries, monkeypatch, wanted):
    monkeypatch.setattr(exported_calls, "ROWS_A_PAGE", 7)
    position = many[0].written
    batches = queries.calls_in_bulk.batches(CallSearch(**wanted), position=position)
    exported = [UUID(call_id).int async for batch in batches for call_id in batch.columns[0]]
    assert exported == list(reversed(await every_page(queries, **wanted)))
    assert await queries.calls_in_bulk.count(CallSearch(**wanted), position=position) is None


async def test_an_export_of_a_search_shows_its_position(many, queries):
    for position, found in ((2, []), (3, [3]), (98, [3]), (99, [3, 90]), (many[0].written, [3, 90, 199])):
        batches = queries.calls_in_bulk.batches(CallSearch(search="rare"), position=position)
        assert [UUID(call_id).int async for batch in batches for call_id in batch.columns[0]] == found, position
