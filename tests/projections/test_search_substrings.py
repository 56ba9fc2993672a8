"""Given prompts and answers, then they are found by parts of words where the server has pg_trgm, and only there."""

from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from domain.errors import Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member
from projections import exported_calls, search_substrings, substring_queries
from projections.compare import checksum
from projections.follow import Follower
from projections.generations import generations, install, opened
from projections.paging import Paging
from projections.queries import Queries
from projections.read_models import READ_MODELS, optional_apart
from projections.rebuild import rebuild
from projections.replay import WholeLog
from projections.search_eras import CallSearch
from projections.substring_queries import pattern_of
from tests.projections.log import failed
from tests.projections.test_search import ask, tell

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture
def models(database):
    """All read models of a database whose owner has added pg_trgm."""
    with psycopg.connect(database.owner_uri, autocommit=True) as connection:
        row = connection.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone()
        if row is None:
            pytest.skip("this server has no pg_trgm; name one in STUDY_TEST_DATABASE_URL (postgresql-contrib)")
        assert optional_apart(connection) == ()
        connection.execute("CREATE EXTENSION pg_trgm")
        return (*READ_MODELS, *optional_apart(connection))


@pytest.fixture
def follower(log, connect, models):
    with connect() as connection:
        install(connection, models)
    follower = Follower(log, connect, models)
    yield follower
    follower.close()


@pytest.fixture
async def queries(database, follower):
    async with AsyncConnectionPool(database.application_uri, min_size=1, max_size=4, open=False) as pool:
        yield Queries(pool, substrings=True)


@pytest.fixture
def found(queries):
    """Numbers of the calls that a search finds, in its order, page by page."""

    async def search(text, *, as_of=None, **wanted):
        ids, cursor = [], None
        while True:
            asked = CallSearch(search=text, match="substring", **wanted)
            page = await queries.search.calls(asked, as_of=as_of, page=Paging(3, cursor))
            ids += [UUID(each["call_id"]).int for each in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                return ids

    return search


async def test_what_stands_inside_words_is_found_whatever_its_case(log, follower, found):
    ask(log, ONE, "Where is os.path.JOINED_with?")
    ask(log, TWO, "100% of it", "straße_x \x00 \\n")
    tell(log, TWO, "An unjoined answer")
    follower.catch_up()
    assert await found("joined") == [2, 1]
    assert await found("path.join") == [1]
    assert await found("joined", part="answer") == [2]
    assert await found("100%") == [2]
    assert await found("100_") == await found("100%%") == []
    assert await found("STRASSE_X") == [2]
    assert await found("straße") == [2]
    assert await found("joined", status="success") == [2]
    assert await found("joined", provider="nobody") == []


async def test_each_find_is_shown_where_it_stands(log, follower, queries):
    ask(log, ONE, "Disjoint, and DISJOINED.")
    follower.catch_up()
    page = await queries.search.calls(CallSearch(search="sjoi", match="substring"))
    (excerpt,) = page["items"][0]["found"]
    assert isinstance(page["items"][0]["rank"], float)
    assert (excerpt["part"], excerpt["text"], excerpt["marks"]) == (
        "prompt",
        "Disjoint, and DISJOINED.",
        [(2, 6), (16, 20)],
    )


async def test_a_search_shows_its_position(log, follower, found):
    ask(log, ONE, "a prefixed prompt")
    ask(log, TWO, "another")
    tell(log, TWO, "suffixed")
    log.write(ONE, failed())
    follower.catch_up()
    assert [await found("fixed", as_of=position) for position in range(5)] == [[], [1], [1], [2, 1], [2, 1]]
    assert await found("fixed", as_of=3, status="failed") == []
    assert await found("fixed", as_of=4, status="failed") == [1]


async def test_every_call_is_found_once_in_many_eras_and_exported_the_oldest_first(
    log, follower, queries, found, monkeypatch
):
    monkeypatch.setattr(search_substrings, "ERA_BITS", 2)
    monkeypatch.setattr(substring_queries, "ERA_BITS", 2)
    monkeypatch.setattr(substring_queries, "WALKED", 5)
    monkeypatch.setattr(exported_calls, "ROWS_A_PAGE", 4)
    for number in range(1, 31):
        ask(log, UUID(int=number), f"number{number}ed {'rarely' if number % 10 == 1 else ''}")
        if number % 3 == 0:
            tell(log, UUID(int=number), "numbered")
    group = UUID(int=99)
    log.write(group, GroupCreated(group_type="run", name="r"))
    log.write(UUID(int=98), GroupMembersAdded(group_id=group, members=(Member(call_id=THREE), Member(call_id=ONE))))
    follower.catch_up()
    for text, wanted, expected in (
        ("umber", {}, list(range(30, 0, -1))),
        ("umbered", {}, list(range(30, 0, -3))),
        ("arel", {}, [21, 11, 1]),
        ("umber", {"group_id": group}, [3, 1]),
        ("nowhere", {}, []),
    ):
        assert await found(text, **wanted) == expected, text
        asked = CallSearch(search=text, match="substring", **wanted)
        batches = queries.calls_in_bulk.batches(asked, position=log.written)
        exported = [UUID(call_id).int async for batch in batches for call_id in batch.columns[0]]
        assert exported == expected[::-1], text


async def test_a_rebuild_gives_the_same_texts(log, follower, connect, models):
    for number in range(1, 6):
        ask(log, UUID(int=number), f"prompt {number}")
        tell(log, UUID(int=number), f"answer {number}")
    follower.catch_up()

    def rows():
        with opened(connect) as connection:
            (live,) = [each for each in generations(connection, "live") if each.name == "search_substrings"]
            count = connection.execute(f"SELECT count(*) FROM {live.schema}.substring_texts".encode()).fetchone()
            return count, checksum(connection, live.schema, search_substrings.TEXTS)

    before = rows()
    rebuild(WholeLog(log, connect, models), "search_substrings")
    assert rows() == before
    assert before[0] == (10,)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"search": "ab"}, "q"),
        ({"search": "a.b c(d"}, "q"),
        ({"search": "abc" * 400}, "q"),
        ({"search": "abc", "order": "rank"}, "order"),
        ({"search": "abc", "part": "title"}, "part"),
    ],
    ids=str,
)
def test_what_can_not_be_looked_up_is_told(asked, field):
    with pytest.raises(Rejected) as told:
        pattern_of(CallSearch(match="substring", **asked))
    assert told.value.fields == (field,)


async def test_without_pg_trgm_it_is_told_what_to_add(database):
    async with AsyncConnectionPool(database.application_uri, min_size=1, max_size=1, open=False) as pool:
        queries, asked = Queries(pool), CallSearch(search="abc", match="substring")
        with pytest.raises(Rejected, match="CREATE EXTENSION pg_trgm"):
            await queries.search.calls(asked)
        with pytest.raises(Rejected, match="CREATE EXTENSION pg_trgm"):
            queries.calls_in_bulk.check(asked)
        with pytest.raises(Rejected, match="no way to match"):
            queries.search.check(CallSearch(search="abc", match="sounds"))
