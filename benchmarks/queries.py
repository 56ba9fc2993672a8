"""How long lists, groups, sums and searches take in a store of millions of calls, while others write into it.

    python -m benchmarks.queries [--calls 200000] [--home FOLDER [--minutes 60]] [--writes 50] [--only search]
        [--plans] [--json]

The store is filled with made-up calls of 60 days (see benchmarks/made_calls.py), each with its events, bodies and rows
in every read model: a quarter of a millisecond of processor time a call on a machine at rest, and 5.5 KB. Given a home,
the store is kept there and asked again the next time; `--minutes` bounds the filling: there are then as many calls as
there was time for, and it says how many. A replay checks the rows of stores with up to 50,000 calls.

Then another process writes so many calls a second and lets the read models follow, and each question is asked again
and again, one after the other: p50 and p95 in milliseconds, as Python asks it, with nothing between it and the
database. A first second of each is not counted. `work_ms` is the processor time that it takes on average, here and in
Postgres, which other processes make a little longer. `--plans` shows how Postgres answers each question,
and in any case it is said which read a table from its beginning to its end.
"""

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from benchmarks.filling import bring_up_to_date, fill, verified
from benchmarks.questions import Log, Question, Questions
from benchmarks.server import options, server, show
from projections.queries import Queries
from projections.reading import Planned, Reader, Row

MOST_TIMES = 200
FEWEST_TIMES = 20
WARM_SECONDS = 1.0
MOST_TO_VERIFY = 50_000
FEW_PAGES = 32  # a table as small as that is read whole, rightly


def processor_ms(*processes: int) -> float | None:
    """How long these have had a processor, where the kernel tells."""
    try:
        return sum(int(Path(f"/proc/{each}/schedstat").read_text().split()[0]) for each in processes) / 1e6
    except OSError:
        return None


async def asked(question: Question, seconds: float, processes: Sequence[int]) -> dict[str, Any]:
    """Ask it for so long, and tell how long it took, and of that, how long these processes worked for it."""
    warm = time.monotonic() + WARM_SECONDS
    while True:
        answer = await question.ask()
        if time.monotonic() > warm:
            break
    times: list[float] = []
    began, worked = time.monotonic(), processor_ms(*processes)
    while len(times) < FEWEST_TIMES or (len(times) < MOST_TIMES and time.monotonic() - began < seconds):
        before = time.perf_counter()
        await question.ask()
        times.append((time.perf_counter() - before) * 1000)
    p95 = statistics.quantiles(times, n=20)[-1]
    until = processor_ms(*processes)
    return {
        "question": question.name,
        "work_ms": None if worked is None or until is None else round((until - worked) / len(times), 1),
        "p50_ms": round(statistics.median(times), 1),
        "p95_ms": round(p95, 1),
        "target_ms": question.target_ms,
        "times": len(times),
        "items": len(answer.get("items", ())),
        "met": "" if question.target_ms is None else "yes" if p95 < question.target_ms else "no",
    }


class ExplainingReader(Reader):
    """Notes how each SELECT was answered."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        super().__init__(pool)
        self.plans: list[dict[str, Any]] = []

    async def rows(
        self, sql: str, parameters: dict[str, Any], *, binary: bool = False, planned: Planned | None = None
    ) -> list[Row]:
        """The rows, after the plan of getting them."""
        explained = await super().rows(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) {sql}", parameters)
        self.plans.append(explained[0]["QUERY PLAN"][0])
        return await super().rows(sql, parameters, binary=binary, planned=planned)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's steps that were taken."""
    if plan.get("Actual Loops"):
        yield plan
        for each in plan.get("Plans", ()):
            yield from nodes(each)


def told(plan: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """A plan, a line a step."""
    what = " ".join(str(plan[name]) for name in ("Node Type", "Index Name", "Relation Name") if name in plan)
    rows = plan.get("Actual Rows", 0)
    yield f"{'  ' * depth}{what}  ({rows:g} rows, {plan.get('Actual Loops', 0)} times)"
    for each in plan.get("Plans", ()):
        yield from told(each, depth + 1)


async def plans(pool: AsyncConnectionPool[Any], log: Log, names: dict[str, int]) -> list[dict[str, Any]]:
    """Of every question, the steps it took, and which tables it read from the beginning to the end."""
    reader = ExplainingReader(pool)
    queries = Queries(pool)
    for each in (queries.calls, queries.search, queries.groups, queries.analytics):
        each._reader = reader
    rows: list[dict[str, Any]] = []
    ask = Questions(queries, log)
    for question in [*ask.lists(), *ask.groups(), *ask.sums(), *ask.searches()]:
        reader.plans.clear()
        await question.ask()
        steps = [step for plan in reader.plans for step in nodes(plan["Plan"])]
        whole = {
            step["Relation Name"]
            for step in steps
            if step["Node Type"] == "Seq Scan" and names.get(step["Relation Name"], 0) > FEW_PAGES
        }
        lines = [line for plan in reader.plans for line in told(plan["Plan"])]
        rows.append({"question": question.name, "read whole": ", ".join(sorted(whole)) or "none", "plan": lines})
    return rows


async def measure(uri: str, seconds: float, *, log: Log, only: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """All questions, or those of some tables."""
    async with AsyncConnectionPool(uri, min_size=1, max_size=1, open=False) as pool:
        async with pool.connection() as connection:
            processes = (os.getpid(), connection.info.backend_pid)
        ask = Questions(Queries(pool), log)
        tables = {"lists of calls": ask.lists(), "groups": ask.groups(), "sums": ask.sums(), "search": ask.searches()}
        measured: dict[str, list[dict[str, Any]]] = {}
        for title, questions in tables.items():
            if only and title not in only:
                continue
            measured[title] = []
            for question in questions:
                row = await asked(question, seconds, processes)
                print(f"{title}: {row}", file=sys.stderr, flush=True)
                measured[title].append(row)
        return measured


async def explained(uri: str, log: Log) -> list[dict[str, Any]]:
    """The plans, with how large the tables are."""
    with psycopg.connect(uri) as connection:
        pages: dict[str, int] = dict(
            connection.execute("SELECT relname, relpages FROM pg_class WHERE relkind = 'r'").fetchall()
        )
    async with AsyncConnectionPool(uri, min_size=1, max_size=2, open=False) as pool:
        return await plans(pool, log, pages)


@contextmanager
def written_into(uri: str, rate: float, about: dict[str, Any]) -> Iterator[None]:
    """Others write meanwhile; afterwards it is told how many calls a second, and how far behind the read models are."""
    if not rate:
        yield
        return
    words = [sys.executable, "-m", "benchmarks.writing", uri, str(rate)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdout.readline()
        began = time.monotonic()
        try:
            yield
            writer.stdin.write("\n")
            writer.stdin.flush()
            count, behind = map(int, writer.stdout.readline().split())
            about["written_per_second"] = round(count / (time.monotonic() - began), 1)
            about["positions_behind"] = behind
        finally:
            writer.stdin.close()


def sizes(uri: str) -> list[dict[str, Any]]:
    """What the store takes on disk."""
    with psycopg.connect(uri) as connection:
        found = connection.execute(
            "SELECT n.nspname || '.' || c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
            "AND n.nspname NOT IN ('pg_catalog', 'information_schema') "
            "ORDER BY pg_total_relation_size(c.oid) DESC LIMIT 8"
        ).fetchall()
    return [
        {"table": name, "gb": round(rows / 1e9, 2), "indexes_gb": round(more / 1e9, 2)} for name, rows, more in found
    ]


def is_empty(uri: str) -> bool:
    """Whether the log holds nothing."""
    with psycopg.connect(uri) as connection:
        return connection.execute("SELECT FROM events.events LIMIT 1").fetchone() is None


def main() -> None:
    """Fill, ask, tell."""
    parser = options(__doc__, seconds=5.0)
    parser.add_argument("--calls", type=int, default=200_000, help="how many calls to fill an empty store with")
    parser.add_argument("--home", type=Path, help="where to keep the store, to be asked again")
    parser.add_argument("--minutes", type=float, default=600.0, help="for how long to fill at most")
    parser.add_argument("--processes", type=int, default=4, help="that fill at once")
    parser.add_argument("--writes", type=float, default=50.0, help="calls a second that are written meanwhile")
    parser.add_argument("--only", action="append", default=[], help="groups, sums, search or lists of calls")
    parser.add_argument("--plans", action="store_true", help="print the steps of each question")
    given = parser.parse_args()
    with server(given.database_url, home=given.home) as (uri, machine):
        if is_empty(uri):
            filled = fill(uri, given.calls, processes=given.processes, seconds=60 * given.minutes)
            if filled <= MOST_TO_VERIFY and not verified(uri):
                raise SystemExit("A replay gives other rows than the filling did")
        else:
            bring_up_to_date(uri)
        log = Log.of(uri)
        about: dict[str, Any] = {**machine, "calls": log.calls, "writes": given.writes}
        gc.freeze()  # as a server does when it has loaded all
        with written_into(uri, given.writes, about):
            tables = asyncio.run(measure(uri, given.seconds, log=log, only=given.only))
        steps = asyncio.run(explained(uri, log))
        for each in steps:
            lines = each.pop("plan")
            if given.plans:
                print(
                    json.dumps(lines) if given.json else "\n".join([f"-- {each['question']}", *lines]), file=sys.stderr
                )
        show(about, {**tables, "plans": steps, "on disk": sizes(uri)}, as_json=given.json)


if __name__ == "__main__":
    main()
