"""Kill a process that makes calls, again and again, and reconcile what everybody saw.

    python -m tests.end_to_end.crash_run --calls 2000 --kills 20 --outages 5
    python -m tests.end_to_end.crash_run --calls 10000 --kills 3 --outages 2 --trouble 0.2 0.05 0.05

Trouble is the share of requests that fail and may be tried again, that fail for good, and that are never answered.
An outage is a crash of Postgres itself, which stays away for a short or a long while: longer than the store is tried.
The provider is a process of its own that logs each request before it answers; the caller logs each answer it gets.
Printed at the end: what the server saw, what the caller saw and what the store holds.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from application.ask_model import Question
from domain.calls import CallAnswered, CallAttemptFailed, CallRequested
from domain.errors import ProviderFailed, StudyError
from infrastructure.event_store import patient_writer
from infrastructure.event_store.mapper import FactMapper
from infrastructure.journal_state import waiting_files
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.support.own_server import OwnServer
from tests.support.server_process import server_process
from tests.support.warm_process import WarmProcess

TASKS = 50
LOOK_SECONDS = 0.5
LONG_OUTAGE_SECONDS = patient_writer.RETRY_SECONDS + 1.5


def caller(_line: Connection, answers: Path, calls: int) -> None:
    """Ask what has no answer yet; write each answer down once it is there."""

    async def ask_all() -> None:
        seen = {line["prompt"] for line in _lines(answers)}
        places = asyncio.Semaphore(TASKS)
        async with open_study(read_settings()) as study:
            with answers.open("a") as log:

                async def one(prompt: str) -> None:
                    async with places:
                        came: dict[str, Any]
                        try:
                            answer = await study.asking.ask(Question(prompt=prompt), study.context())
                            came = {"call_id": str(answer.call_id), "text": answer.text, "position": answer.position}
                        except ProviderFailed as failure:
                            came = {"call_id": failure.call_id, "text": None, "position": 0}
                        log.write(json.dumps({"prompt": prompt, **came}) + "\n")
                        log.flush()

                wanted = [prompt for number in range(calls) if (prompt := f"question {number}") not in seen]
                await asyncio.gather(*(one(prompt) for prompt in wanted))

    try:
        asyncio.run(ask_all())
    except StudyError as error:
        sys.exit(str(error))


def run(
    database_url: str,
    folder: Path,
    *,
    calls: int,
    kills: int,
    outages: int = 0,
    postgres: OwnServer | None = None,
    seed: int = 0,
    trouble: tuple[float, float, float] = (0.02, 0.0, 0.0),
) -> dict[str, Any]:
    """Run the caller to its end through so many kills and outages, recover, and reconcile."""
    chance = random.Random(seed)
    answers, seen = folder / "answers.jsonl", folder / "server.jsonl"
    # After so many requests; what is asked while the store is away is sent when it is back.
    when = [int(calls * (number + 0.5) / outages) for number in range(outages)]
    losing = threading.Thread(target=_lose, args=(postgres, seen, when, random.Random(seed)))
    answers.touch()
    with server_process(seen, trouble=trouble) as address:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "STUDY_HOME": str(folder),
            "OPENAI_BASE_URL": address,
            "STUDY_IN_DOUBT_AFTER_S": str(LOOK_SECONDS),
            "STUDY_ATTEMPT_TIMEOUT_S": "5" if trouble[2] else "60",
        }
        killed = 0
        losing.start()
        while True:
            process = WarmProcess(caller, answers, calls, environment=environment)
            with closing(process):
                if killed < kills:  # after so many requests, so that the kills spread over the run
                    wanted = _requests(seen) + chance.randint(1, calls // (kills + 1))
                    while process.exit_code is None and _requests(seen) < wanted:
                        time.sleep(0.005)
                else:
                    process.wait()
                if process.exit_code is None:
                    process.kill()
                    killed += 1
                if process.exit_code == 0:
                    break
        losing.join()
    recovered = _recover(environment)
    return {
        **_reconcile(database_url, answers, seen),
        "calls": calls,
        "killed": killed,
        "marked_at_the_end": recovered,
        "left_in_journals": sum(file.calls for file in waiting_files(folder)),
    }


def _lose(postgres: OwnServer | None, seen: Path, when: list[int], chance: random.Random) -> None:
    for number, requests in enumerate(when):
        assert postgres is not None
        while _requests(seen) < requests:
            time.sleep(0.01)
        postgres.crash()
        time.sleep(LONG_OUTAGE_SECONDS if number % 2 == 0 else chance.uniform(0, 1))
        postgres.start()


def _recover(environment: dict[str, str]) -> int:
    """What the next commands do by themselves: two looks at who is dead, some time apart."""
    flags = {"database_url": environment["DATABASE_URL"], "study_in_doubt_after_s": LOOK_SECONDS}

    async def recover() -> int:
        async with open_study(read_settings(**flags)) as study:
            await asyncio.sleep(LOOK_SECONDS * 1.2)
            return await study.house.recover()

    return asyncio.run(recover())


def _reconcile(database_url: str, answers: Path, seen: Path) -> dict[str, Any]:
    """What server, caller and store each know, and where they differ: every count with a name of trouble must be 0."""
    mapper = FactMapper()
    with psycopg.connect(database_url) as connection:
        body_of: dict[str, str] = {}
        made: Counter[str] = Counter()  # by the request's bytes: attempts that are recorded with what came of them
        answered: Counter[str] = Counter()
        rows = connection.execute(
            "SELECT originator_id, topic, state FROM events.events WHERE topic LIKE 'call.%%' "
            "ORDER BY originator_id, originator_version"
        )
        for call_id, topic, state in rows:
            match mapper.decode(topic, state)[1]:
                case CallRequested(request=request):
                    body_of[str(call_id)] = request.sha256
                case CallAttemptFailed(error=error):
                    made[body_of[str(call_id)]] += error.kind != "connection"
                case CallAnswered():
                    made[body_of[str(call_id)]] += 1
                    answered[str(call_id)] += 1
        found = connection.execute("SELECT call_id, status, response_json FROM study.raw_calls").fetchall()
    requested = Counter(body_of.values())
    status_of = {str(call_id): status for call_id, status, _ in found}
    texts = {
        str(call_id): body["choices"][0]["message"]["content"] for call_id, status, body in found if status == "success"
    }
    cut_off = Counter(body_of[call_id] for call_id, status in status_of.items() if status in ("in_doubt", "cancelled"))
    got = _lines(answers)
    failures = [line for line in got if line["text"] is None]
    server = Counter(line["sha256"] for line in _lines(seen))
    statuses = Counter(status_of.values())
    return {
        "server_saw_requests": server.total(),
        "server_saw_without_event": sum(sha not in requested for sha in server),
        "attempts_recorded": made.total(),
        "attempts_recorded_but_not_seen": sum((made - server).values()),
        # A process that is killed leaves at most one attempt a call of which nothing is recorded but the request.
        "attempts_seen_but_not_accounted_for": sum((server - made - cut_off).values()),
        "caller_saw_answers": len(got) - len(failures),
        "caller_saw_failures": len(failures),
        "caller_saw_but_not_stored": sum(texts.get(line["call_id"]) != line["text"] for line in got),
        "caller_saw_failures_not_stored": sum(status_of.get(line["call_id"]) != "failed" for line in failures),
        "caller_saw_unstored": sum(line["position"] is None for line in got),
        "answered_twice": sum(times > 1 for times in answered.values()),
        "request_events": requested.total(),
        "statuses": dict(statuses),
        "requests_without_status": requested.total() - statuses.total(),
        "left_requested": statuses["requested"],
    }


def _requests(seen: Path) -> int:
    return seen.read_bytes().count(b"\n") if seen.exists() else 0


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
    parser.add_argument("--trouble", type=float, nargs=3, default=(0.02, 0.0, 0.0))
    options = parser.parse_args()
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
                trouble=tuple(options.trouble),
            )
            print(json.dumps(result, indent=1))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
