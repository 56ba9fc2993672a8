"""A file of prompts, asked by a process that is killed, and asked again: each is answered once, in order."""

import json
import os
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import psycopg

from tests.conftest import Database
from tests.support.server_process import server_process
from tests.support.warm_process import WarmCommand

PROMPTS = int(400 * float(os.environ.get("STUDY_TEST_SCALE", "1")))  # 12.5 for 5,000
KILLS = 2


def requests_in(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_a_batch_that_is_killed_twice_and_asked_again_answers_each_prompt_once_and_in_order(
    database: Database, tmp_path: Path
) -> None:
    prompts, log = tmp_path / "prompts.jsonl", tmp_path / "server.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(PROMPTS)))
    words = ("ask", "--file", str(prompts), "--json", "--in-flight", "50")
    with server_process(log, trouble=(0.05, 0.0, 0.0)) as address:
        environment = {
            **os.environ,
            "DATABASE_URL": database.application_uri,
            "STUDY_HOME": str(tmp_path),
            "OPENAI_BASE_URL": address,
            "STUDY_CHAT_ATTEMPTS": "6",
        }

        def asking() -> closing[WarmCommand]:
            return closing(WarmCommand(*words, folder=tmp_path, environment=environment))

        for kill in range(1, KILLS + 1):
            with asking() as command:
                while requests_in(log) < PROMPTS * kill // (KILLS + 1):
                    assert command.exit_code is None
                    time.sleep(0.005)
        with asking() as command:
            code, done, error = command.ended()
        assert code == 0, error
        asked = requests_in(log)
        with asking() as command:
            code, again, error = command.ended()
        assert code == 0, error
        assert requests_in(log) == asked  # all of it was answered before
    items = json.loads(done)["items"]
    assert [item["line"] for item in items] == list(range(1, PROMPTS + 1))
    assert [item["text"] for item in items] == [f"echo: question {n}" for n in range(PROMPTS)]
    given = sum(item["cached"] for item in items)
    assert PROMPTS // 4 < given < PROMPTS
    assert [item["call_id"] for item in json.loads(again)["items"]] == [item["call_id"] for item in items]
    with psycopg.connect(database.owner_uri) as connection:
        rows = connection.execute("SELECT request_hash, status FROM study.raw_calls").fetchall()
        members = connection.execute(
            "SELECT count(*) FROM study.group_members m JOIN study.groups g USING (group_id) WHERE group_type = 'batch'"
        ).fetchone()
    answers = Counter(request_hash for request_hash, status in rows if status == "success")
    assert len(answers) == PROMPTS
    assert set(answers.values()) == {1}
    assert members == (len(rows),)
    # What was paid and not answered are the calls that were under way when the process was killed.
    assert len(rows) - PROMPTS <= KILLS * 50
