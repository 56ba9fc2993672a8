"""The list of calls, searched by parts of words where the store's database has pg_trgm."""

from pathlib import Path

import httpx
import psycopg
import pytest

from tests.conftest import Database
from tests.interfaces.serving.test_serving import process

OFFERED = '<select name="match">'


def test_parts_of_words_are_offered_where_they_are_found(database: Database, tmp_path: Path) -> None:
    options = ("--home", str(tmp_path), "--database-url", database.application_uri)

    def calls(address: str, status: int = 200, **parameters: str) -> str:
        answer = httpx.get(f"{address}/dashboard/", params={"view": "calls", **parameters}, timeout=300)
        assert answer.status_code == status, answer.text
        return answer.text

    with process(*options) as (_, address, _lines):
        assert OFFERED not in calls(address)
        assert "CREATE EXTENSION pg_trgm" in calls(address, 400, q="umber", match="substring")
    with psycopg.connect(database.owner_uri) as connection:
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone() is None:
            pytest.skip("this server has no pg_trgm; name one in STUDY_TEST_DATABASE_URL (postgresql-contrib)")
        connection.execute("CREATE EXTENSION pg_trgm")
    with process(*options) as (_, address, _lines):
        body = {"prompt": "Name three prime numbers.", "provider": "local"}
        asked = httpx.post(f"{address}/api/calls", json=body, timeout=300).raise_for_status().json()
        assert OFFERED in calls(address)
        found = calls(address, q="UMBER", match="substring", part="prompt")
        assert "<mark>umber</mark>" in found
        assert asked["call_id"] in found
        assert "<mark>" not in calls(address, q="umber", match="words")
