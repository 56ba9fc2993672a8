import os
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


def test_server_caller_and_store_agree_after_trouble_kills_and_outages_of_every_kind(tmp_path: Path) -> None:
    calls = int(400 * float(os.environ.get("STUDY_TEST_SCALE", "1")))  # 25 for 10,000
    postgres = OwnServer(tmp_path)
    result = run(
        postgres.uri, tmp_path, calls=calls, kills=3, outages=2, postgres=postgres, seed=7, trouble=(0.2, 0.05, 0.05)
    )
    postgres.stop()
    assert result["killed"] == 3
    assert result["caller_saw_answers"] + result["caller_saw_failures"] == calls
    assert min(result["caller_saw_answers"], result["caller_saw_failures"]) > 0
    for trouble in (
        "server_saw_without_event",
        "attempts_recorded_but_not_seen",
        "attempts_seen_but_not_accounted_for",
        "caller_saw_but_not_stored",
        "caller_saw_failures_not_stored",
        "answered_twice",
        "requests_without_status",
        "left_requested",
        "left_in_journals",
    ):
        assert result[trouble] == 0, (trouble, result)
