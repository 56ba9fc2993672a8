from pathlib import Path

from tests.conftest import Database
from tests.end_to_end.crash_run import run
from tests.support.own_server import OwnServer


def test_no_call_is_lost_however_often_the_process_is_killed(database: Database, tmp_path: Path) -> None:
    result = run(database.application_uri, tmp_path, calls=300, kills=4, seed=7)
    assert result["killed"] == 4
    assert result["caller_saw_answers"] == 300
    assert result["server_saw_without_event"] == 0
    assert result["caller_saw_but_not_stored"] == 0
    assert result["left_requested"] == 0
    assert result["statuses"]["in_doubt"] > 0


def test_no_call_is_lost_however_often_postgres_crashes_too(tmp_path: Path) -> None:
    postgres = OwnServer(tmp_path)
    result = run(postgres.uri, tmp_path, calls=200, kills=2, outages=2, postgres=postgres, seed=7)
    postgres.stop()
    assert result["caller_saw_answers"] == 200
    assert result["server_saw_without_event"] == 0
    assert result["caller_saw_but_not_stored"] == 0
    assert result["answered_twice"] == 0
    assert result["left_requested"] == 0
    assert result["left_in_journals"] == 0
