"""Searching prompts and answers from Python."""

from pathlib import Path

import psycopg
import pytest

import study_query_llm as sq
from tests.conftest import Database


def test_a_script_searches_what_it_asked(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        study.ask("Name three prime numbers.", provider="local")
        study.ask("Name the capital of Italy.", provider="local")
        (found,) = study.calls(search='"prime numbers"', part="prompt", order="rank")
        assert found["found"][0]["marks"] == [(11, 16), (17, 24)]
        assert len(study.calls(search="name", status="success")) == 2
        with pytest.raises(sq.Rejected, match="no word"):
            study.calls(search="***")


def test_parts_of_words_are_searched_for_once_the_owner_has_added_pg_trgm(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        study.ask("Name three prime numbers.", provider="local")
        with pytest.raises(sq.Rejected, match="CREATE EXTENSION pg_trgm"):
            study.calls(search="umber", match="substring")
    with psycopg.connect(database.owner_uri) as connection:
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'").fetchone() is None:
            pytest.skip("this server has no pg_trgm; name one in STUDY_TEST_DATABASE_URL (postgresql-contrib)")
        connection.execute("CREATE EXTENSION pg_trgm")
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        study.ask("Name the capital of Italy.", provider="local")
        (found,) = study.calls(search="UMBER", match="substring", part="prompt")
        assert found["found"][0]["marks"] == [(18, 23)]
        exported = study.export("calls", tmp_path / "f.jsonl", file_format="jsonl", search="ame th", match="substring")
        assert exported.rows == 2
        with pytest.raises(sq.Rejected, match="three letters or digits"):
            study.export("calls", tmp_path / "x", search="um", match="substring")
