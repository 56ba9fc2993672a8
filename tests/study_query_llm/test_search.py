"""Searching prompts and answers from Python."""

from pathlib import Path

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
