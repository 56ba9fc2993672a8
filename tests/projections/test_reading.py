"""What is read is as the database holds it, and a connection goes back as it was."""

import math

import pytest
from psycopg_pool import AsyncConnectionPool

from domain.errors import Rejected
from projections.reading import Reader


@pytest.fixture
async def pool(database):
    async with AsyncConnectionPool(database.application_uri, min_size=1, max_size=1, open=False) as pool:
        yield pool


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("planned", [None, "anew", "once"])
async def test_json_is_read_whole_however_it_is_sent(pool, binary, planned):
    written = f'{{"a": [1, 2.5, null, "é"], "b": 123456789012345678901234567890, "c": 1{"0" * 400}.5}}'
    row = (await Reader(pool).rows(f"SELECT '{written}'::jsonb AS found", {}, binary=binary, planned=planned))[0]
    assert row["found"] == {"a": [1, 2.5, None, "é"], "b": 123456789012345678901234567890, "c": math.inf}


async def test_a_connection_that_was_read_by_begins_transactions_again(pool):
    reader = Reader(pool)
    assert await reader.row("SELECT 1 AS one", {}) == {"one": 1}
    with pytest.raises(Rejected):
        await reader.rows("SELECT %(text)s::int", {"text": "no number"})
    async with pool.connection() as connection:
        assert not connection.autocommit
        async with connection.cursor("named") as cursor:  # there is none outside a transaction
            await cursor.execute("SELECT generate_series(1, 3)")
            assert len(await cursor.fetchall()) == 3
