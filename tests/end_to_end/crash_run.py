"""Kill a process that makes calls, again and again, and reconcile what everybody saw.

    python -m tests.end_to_end.crash_run --calls 2000 --kills 20 --outages 5

An outage is a crash of Postgres itself, which stays away for a short or a long while: longer than the store is tried.
The provider is a process of its own that logs each request before it answers; the caller logs each answer it gets.
Printed at the end: what the server saw, what the caller saw and what the store holds.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

from application.ask_model import Question
from domain.calls import CallRequested
from domain.errors import StudyError
from infrastructure.event_store import group_commit
from infrastructure.event_store.mapper import FactMapper
from infrastructure.journal_state import waiting_files
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.support.own_server import OwnServer

ROOT = Path(__file__).parents[2]
TASKS = 50
CALLS_PER_SECOND = 1_000  # roughly, so that the kills spread over the run
LOOK_SECONDS = 0.5
LONG_OUTAGE_SECONDS = group_commit.RETRY_SECONDS + 1.5


def caller(answers: Path, calls: int) -> None:
    """Ask what has no answer yet; write each answer down once it is there."""

    async def ask_all() -> None:
        seen = {line["prompt"] for line in _lines(answers)}
        places = asyncio.Semaphore(TASKS)
        async with open_study(read_settings()) as study:
            study.registry.create("openai")  # loads the client's library, so that the kills hit calls
            with answers.open("a") as log:
                print("asking", flush=True)

                async def one(prompt: str) -> None:
                    async with places:
                        (answer,) = await study.ask(Question(prompt=prompt), study.context())
                        log.write(
                            json.dumps(
                                {
                                    "prompt": prompt,
                                    "call_id": str(answer.call_id),
                                    "text": answer.text,
                                    "position": answer.position,
                                }
                            )
                            + "\n"
                        )
                        log.flush()

                wanted = [prompt for number in range(calls) if (prompt := f"question {number}") not in seen]
                await asyncio.gather(*(one(prompt) for prompt in wanted))

    asyncio.run(ask_all())


def run(
    database_url: str,
    folder: Path,
    *,
    calls: int,
    kills: int,
    outages: int = 0,
    postgres: OwnServer | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Run the caller to its end through so many kills and outages, recover, and reconcile."""
    chance = random.Random(seed)
    losing = threading.Thread(target=_lose, args=(postgres, outages, random.Random(seed)))
    answers, seen = folder / "answers.jsonl", folder / "server.jsonl"
    answers.touch()
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.support.misbehaving_server",
            "--log",
            str(seen),
            "--delay-ms",
            "20",
            "--fail-rate",
            "0.02",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "STUDY_HOME": str(folder),
        "OPENAI_BASE_URL": server.stdout.readline().strip(),
        "STUDY_IN_DOUBT_AFTER_S": str(LOOK_SECONDS),
    }
    command = [sys.executable, "-m", "tests.end_to_end.crash_run", "--caller", str(answers), "--calls", str(calls)]
    killed = 0
    losing.start()
    try:
        while True:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            if killed < kills:
                time.sleep(chance.uniform(0.05, 0.05 + 2 * calls / CALLS_PER_SECOND / (kills + 1)))
            else:
                process.wait()
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.stdout.close()
            if process.wait() == 0:
                break
        losing.join()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    recovered = _recover(environment)
    return {
        **_reconcile(database_url, answers, seen),
        "calls": calls,
        "killed": killed,
        "marked_at_the_end": recovered,
        "left_in_journals": sum(file.calls for file in waiting_files(folder)),
    }


def _lose(postgres: OwnServer | None, outages: int, chance: random.Random) -> None:
    for number in range(outages):
        assert postgres is not None
        time.sleep(chance.uniform(1, 3))
        postgres.crash()
        time.sleep(LONG_OUTAGE_SECONDS if number % 2 == 0 else chance.uniform(0, 1))
        postgres.start()


def _recover(environment: dict[str, str]) -> int:
    """What the next commands do by themselves: two looks at who is dead, some time apart."""
    flags = {"database_url": environment["DATABASE_URL"], "study_in_doubt_after_s": LOOK_SECONDS}

    async def recover() -> int:
        async with open_study(read_settings(**flags)) as study:
            await asyncio.sleep(LOOK_SECONDS * 1.2)
            return await study.recover()

    return asyncio.run(recover())


def _reconcile(database_url: str, answers: Path, seen: Path) -> dict[str, Any]:
    mapper = FactMapper()
    with psycopg.connect(database_url) as connection:
        requested: Counter[str] = Counter()
        for topic, state in connection.execute(
            "SELECT topic, state FROM events.events WHERE topic = 'call.requested.v1'"
        ).fetchall():
            fact = mapper.decode(topic, state)[1]
            assert isinstance(fact, CallRequested)
            requested[fact.request.sha256] += 1
        answered_twice = connection.execute(
            "SELECT count(*) FROM (SELECT FROM events.events WHERE topic = 'call.answered.v1' "
            "GROUP BY originator_id HAVING count(*) > 1) AS twice"
        ).fetchall()[0][0]
        statuses = dict(connection.execute("SELECT status, count(*) FROM study.raw_calls GROUP BY 1").fetchall())
        texts = {
            str(call_id): response["choices"][0]["message"]["content"]
            for call_id, response in connection.execute(
                "SELECT call_id, response_json FROM study.raw_calls WHERE status = 'success'"
            ).fetchall()
        }
    got = _lines(answers)
    server = Counter(line["sha256"] for line in _lines(seen))
    return {
        "server_saw_requests": server.total(),
        "server_saw_without_event": sum(sha not in requested for sha in server),
        "caller_saw_answers": len(got),
        "caller_saw_but_not_stored": sum(texts.get(line["call_id"]) != line["text"] for line in got),
        "caller_saw_unstored": sum(line["position"] is None for line in got),
        "answered_twice": answered_twice,
        "request_events": requested.total(),
        "statuses": statuses,
        "left_requested": statuses.get("requested", 0),
    }


def _lines(file: Path) -> list[dict[str, Any]]:
    """A log's whole lines; the last one may have been cut by a kill."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]]


def main() -> None:
    """Run with an embedded server in a folder of its own, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--outages", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--caller", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.caller:
        try:
            caller(options.caller, options.calls)
        except StudyError as error:
            sys.exit(str(error))
        return
    with tempfile.TemporaryDirectory() as folder:
        postgres = OwnServer(Path(folder))
        try:
            result = run(
                postgres.uri,
                Path(folder),
                calls=options.calls,
                kills=options.kills,
                outages=options.outages,
                postgres=postgres,
                seed=options.seed,
            )
            print(json.dumps(result, indent=1))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
