"""How long the dashboard's pages take in a store of many calls, and what they cost the server.

    python -m benchmarks.queries --calls 1000000 --home FOLDER --seconds 1
    python -m benchmarks.dashboard --home FOLDER [--only views] [--only memory] [--only together]
        [--loads 200] [--rounds 5] [--seconds 5] [--json]

views: each view as the server makes it, from the request to the last byte of the HTML, one after the other: p50 and
p95 in milliseconds. `work_ms` is the processor time of the server and of Postgres on average, which doesn't depend on
what else the machine does. The target is a p95 of 300 ms.

memory: what the server holds after so many loads of pages in Chromium, live ones too, once pages that were left are
forgotten; together: until all of a page is drawn, in one browser and in two at once.

Without --home a small store is made for this run. Every page is loaded before it is measured, since the library of the
live views is imported by the first.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psycopg

from benchmarks.browsing import memory, together
from benchmarks.filling import bring_up_to_date, fill
from benchmarks.gateways import Gateway, study_gateway
from benchmarks.made_calls import RARE_MODEL, WORDS
from benchmarks.queries import is_empty
from benchmarks.questions import Log
from benchmarks.server import options, server, show

TARGET_MS = 300
FEWEST_TIMES, MOST_TIMES = 10, 100
PARTS = ("views", "memory", "together")
EVERY_LOADS = 50
CALLS_OF_A_SMALL_STORE = 2_000


def views_of(uri: str, address: str) -> dict[str, str]:
    """The address of every view, with what it shows where there is much of it."""
    by_share = sorted(WORDS, key=lambda word: WORDS[word][0])
    frequent, rare = by_share[-1], by_share[1]
    with psycopg.connect(uri) as connection:
        call = _one(connection, "SELECT call_id FROM study.raw_calls ORDER BY position DESC LIMIT 1")
        group = _one(
            connection,
            "SELECT g.group_type || '/' || g.name FROM study.groups g JOIN (SELECT group_id FROM study.group_members "
            "GROUP BY group_id ORDER BY count(*) DESC LIMIT 1) m USING (group_id)",
        )
        group_id = _one(connection, "SELECT group_id FROM study.groups WHERE group_type || '/' || name = %s", group)
        sweep = _one(connection, "SELECT sweep_id FROM study.sweeps LIMIT 1")
    wanted: dict[str, dict[str, Any]] = {
        "ask": {"view": "ask"},
        "calls": {"view": "calls"},
        "calls, failed": {"view": "calls", "status": "failed"},
        "calls of a model": {"view": "calls", "model": RARE_MODEL},
        "calls of a group": {"view": "calls", "group": group},
        "calls, a frequent word": {"view": "calls", "q": frequent},
        "calls, a rare word": {"view": "calls", "q": rare},
        "a call": {"view": "calls", "call": call},
        "analytics": {"view": "analytics"},
        "events": {"view": "events"},
        "events from the first": {"view": "events", "after": 0},
        "groups": {"view": "groups"},
        "a group": {"view": "groups", "group": group},
        "sweeps": {"view": "sweeps"},
        "a sweep": {"view": "sweeps", "sweep": sweep},
        "provenance of a call": {"view": "provenance", "kind": "call", "id": call},
        "provenance of a group": {"view": "provenance", "kind": "group", "id": group_id},
        "health": {"view": "health"},
    }
    return {
        name: f"{address}/dashboard/?{urlencode(parameters)}"
        for name, parameters in wanted.items()
        if all(value is not None for value in parameters.values())
    }


def _one(connection: "psycopg.Connection[Any]", sql: str, *given: Any) -> Any:
    row = connection.execute(sql.encode(), given).fetchone()
    return None if row is None else row[0]


def processor_ms(server: Gateway, uri: str) -> float:
    """The processor time that the server and the store's own processes have had."""
    with psycopg.connect(uri) as connection:
        pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity").fetchall()]
    return sum(worked_ms(pid) for pid in [server.pid, *pids])


def worked_ms(pid: int) -> float:
    """The processor time of all of a process's threads; none of one that has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def measure(views: dict[str, str], server: Gateway, uri: str, seconds: float) -> list[dict[str, Any]]:
    """Each view, again and again for so long."""
    rows = []
    with httpx.Client(timeout=120) as client:
        for address in views.values():
            client.get(address).raise_for_status()
        for name, address in views.items():
            times: list[float] = []
            before, began = processor_ms(server, uri), time.monotonic()
            while len(times) < FEWEST_TIMES or (len(times) < MOST_TIMES and time.monotonic() - began < seconds):
                asked = time.perf_counter()
                page = client.get(address).raise_for_status()
                times.append((time.perf_counter() - asked) * 1000)
            p95 = statistics.quantiles(times, n=20)[-1]
            rows.append(
                {
                    "view": name,
                    "work_ms": round((processor_ms(server, uri) - before) / len(times), 1),
                    "p50_ms": round(statistics.median(times), 1),
                    "p95_ms": round(p95, 1),
                    "kb": round(len(page.content) / 1024),
                    "times": len(times),
                    "met": "yes" if p95 < TARGET_MS else "no",
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Serve, look, tell."""
    parser = options(__doc__, seconds=5.0)
    parser.add_argument("--home", type=Path, help="a store that benchmarks.queries has filled")
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="one of the tables; may be repeated")
    parser.add_argument("--loads", type=int, default=200, help="of pages, in the browser whose weight is watched")
    parser.add_argument("--rounds", type=int, default=5, help="through all views, alone and together")
    given = parser.parse_args()
    with (
        server(given.database_url, home=given.home) as (uri, machine),
        tempfile.TemporaryDirectory() as home,
    ):
        if is_empty(uri):
            fill(uri, CALLS_OF_A_SMALL_STORE, processes=2, seconds=600)
        bring_up_to_date(uri)
        with study_gateway("http://127.0.0.1:9", uri, Path(home)) as dashboard:
            views = views_of(uri, dashboard.url)
            parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
                "views": lambda: measure(views, dashboard, uri, given.seconds),
                "memory": lambda: asyncio.run(memory(dashboard, list(views.values()), given.loads, EVERY_LOADS)),
                "together": lambda: asyncio.run(together(views, given.rounds)),
            }
            tables = {name: parts[name]() for name in PARTS if not given.only or name in given.only}
        show({**machine, "calls": Log.of(uri).calls}, tables, as_json=given.json)


if __name__ == "__main__":
    main()
