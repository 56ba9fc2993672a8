"""What the gateway adds to a call, beside LiteLLM's proxy and the bare server.

    python -m benchmarks.gateway [--seconds 5] [--litellm-venv FOLDER | --no-peers] [--database-url URL] [--json]
    python -m benchmarks.gateway --soak --minutes 10

Clients, each with one request under way, ask a chat server that answers after 0 or 50 ms, straight and through the
gateways, in turn. What is added is the difference of the medians to the bare server under the same load; where the
machine is busy all the time, that is mostly waiting for a core. One commit is one fdatasync of the disk beside.

--soak sends 80 % of what the gateway can take for so long, every third request streamed, and then counts: what the
server was asked, what is recorded as requested, and what as answered.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import psycopg

from benchmarks.chat_server import running
from benchmarks.gateways import Gateway, litellm_gateway, study_gateway
from benchmarks.server import options, server, show

CONCURRENCIES = (1, 10, 50)
DELAYS_MS = (0, 50)
WARM_UP_REQUESTS = 30
SOAK_LOAD = 0.8
SOAK_CLIENTS = 50
SOAK_WARM_UP_SECONDS = 15.0  # of as much as it can take, which is what the 80 % are of
SOAK_STREAMS_EVERY = 3
MEMORY_EVERY_SECONDS = 5.0
MOST_GROWTH = 1.05  # of memory, from the second fifth of a soak to the last
TWO = ("study", "litellm")
TIMES_THE_REQUESTS, SHARE_OF_MEMORY, SHARE_OF_ADDED = 6.0, 1 / 3, 1 / 4
ALLOWED_BEYOND_TWO_COMMITS_MS = 2.0
ASKED = {"model": "bench", "messages": [{"role": "user", "content": "What does a gateway do with what it is given?"}]}
BODIES = {stream: msgspec.json.encode(ASKED | ({"stream": True} if stream else {})) for stream in (False, True)}
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-bench"}


class Load(NamedTuple):
    """How a target is asked."""

    delay_ms: int
    stream: bool
    clients: int


class Measured(NamedTuple):
    """What one target did under one load; times in ms."""

    requests_per_second: float
    p50: float
    p95: float
    p99: float
    errors: int


async def ask(session: aiohttp.ClientSession, url: str, *, stream: bool) -> bool:
    """Ask once, and read to the end; says whether all of the answer came."""
    try:
        async with session.post(f"{url}/v1/chat/completions", data=BODIES[stream], headers=HEADERS) as response:
            body = await response.read()
            return response.status == 200 and (body.rstrip().endswith(b"[DONE]") or not stream)
    except aiohttp.ClientError:
        return False


async def measure(url: str, load: Load, seconds: float) -> Measured:
    """So many clients, each asking one thing after the other for a time."""
    took: list[float] = []
    errors = 0

    async def client(session: aiohttp.ClientSession, until: float) -> None:
        nonlocal errors
        while (began := time.perf_counter()) < until:
            errors += not await ask(session, url, stream=load.stream)
            took.append((time.perf_counter() - began) * 1000)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for _ in range(WARM_UP_REQUESTS):
            await ask(session, url, stream=load.stream)
        began = time.perf_counter()
        await asyncio.gather(*(client(session, began + seconds) for _ in range(load.clients)))
        elapsed = time.perf_counter() - began
    took.sort()
    p50, p95, p99 = (took[min(len(took) - 1, int(len(took) * share))] for share in (0.5, 0.95, 0.99))
    return Measured(len(took) / elapsed, p50, p95, p99, errors)


def compared(asked: Any, database_url: str) -> list[dict[str, Any]]:
    """One row for each target under each load."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        venv = Path(asked.litellm_venv or Path(name) / "litellm")
        for delay_ms in DELAYS_MS:
            with running(delay_ms) as upstream:
                if asked.no_peers:
                    with study_gateway(upstream, database_url, Path(name) / "home") as ours:
                        rows += _rows(upstream, [ours], delay_ms, asked.seconds)
                    continue
                with (
                    study_gateway(upstream, database_url, Path(name) / "home") as ours,
                    litellm_gateway(upstream, venv) as theirs,
                ):
                    rows += _rows(upstream, [ours, theirs], delay_ms, asked.seconds)
    return rows


def _rows(upstream: str, gateways: list[Gateway], delay_ms: int, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for stream in (False, True):
        for clients in CONCURRENCIES:
            load = Load(delay_ms, stream, clients)
            bare = asyncio.run(measure(upstream, load, seconds))
            rows.append(_row("bare", load, bare, bare))
            for gateway in gateways:
                found = asyncio.run(measure(gateway.url, load, seconds))
                rows.append({**_row(gateway.name, load, found, bare), "memory_mb": round(gateway.memory_mb())})
    return rows


def _row(name: str, load: Load, found: Measured, bare: Measured) -> dict[str, Any]:
    return {
        "delay_ms": load.delay_ms,
        "stream": "yes" if load.stream else "no",
        "clients": load.clients,
        "target": name,
        "requests_per_second": round(found.requests_per_second),
        "p50_ms": round(found.p50, 2),
        "p95_ms": round(found.p95, 2),
        "p99_ms": round(found.p99, 2),
        "added_p50_ms": round(found.p50 - bare.p50, 2),
        "added_p95_ms": round(found.p95 - bare.p95, 2),
        "added_p99_ms": round(found.p99 - bare.p99, 2),
        "errors": found.errors,
    }


def targets(rows: list[dict[str, Any]], fsyncs_per_second: float) -> list[dict[str, Any]]:
    """What was wanted and what was reached, without streaming and with a server that answers at once."""

    def of(name: str, column: str, clients: int) -> float:
        return next(
            row[column]
            for row in rows
            if (row["target"], row["clients"], row["stream"], row["delay_ms"]) == (name, clients, "no", 0)
        )

    allowed = 2 * 1000 / fsyncs_per_second + ALLOWED_BEYOND_TWO_COMMITS_MS
    added = of("study", "added_p50_ms", 1)
    found = [_target("added p50 at 1, ms", "≤", round(allowed, 2), added, reached=added <= allowed)]
    if any(row["target"] == "litellm" for row in rows):
        most = [max(of(name, "requests_per_second", clients) for clients in CONCURRENCIES) for name in TWO]
        times = most[0] / most[1]
        found.append(
            _target(
                "most requests/s, times LiteLLM's",
                "≥",
                TIMES_THE_REQUESTS,
                round(times, 1),
                reached=times >= TIMES_THE_REQUESTS,
            )
        )
        share = of("study", "added_p50_ms", 10) / of("litellm", "added_p50_ms", 10)
        wanted = round(SHARE_OF_ADDED, 2)
        found.append(
            _target("added p50 at 10, of LiteLLM's", "≤", wanted, round(share, 2), reached=share <= SHARE_OF_ADDED)
        )
        memory = [max(row.get("memory_mb", 0) for row in rows if row["target"] == name) for name in TWO]
        share = memory[0] / memory[1]
        wanted = round(SHARE_OF_MEMORY, 2)
        found.append(
            _target("most memory, of LiteLLM's", "≤", wanted, round(share, 2), reached=share <= SHARE_OF_MEMORY)
        )
    return found


def _target(name: str, sign: str, wanted: float, found: float, *, reached: bool) -> dict[str, Any]:
    return {"target": name, "wanted": f"{sign} {wanted}", "found": found, "reached": "yes" if reached else "no"}


async def soak(gateway: Gateway, upstream: str, minutes: float) -> dict[str, Any]:
    """80 % of what it can take, for so long: rates, latencies, errors, and memory as it went."""
    took: list[float] = []
    memory: list[float] = []
    sent = errors = 0

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal sent, errors
        sent += 1
        errors += not await ask(session, gateway.url, stream=sent % SOAK_STREAMS_EVERY == 0)

    async def without_a_pause(session: aiohttp.ClientSession, until: float) -> None:
        while time.perf_counter() < until:
            await one(session)

    async def on_time(session: aiohttp.ClientSession, turn: int, until: float) -> None:
        """Every so many milliseconds; a request that could not be sent when it was due counts from then."""
        due = began + turn / rate
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await one(session)
            took.append((time.perf_counter() - due) * 1000)
            due += SOAK_CLIENTS / rate

    async def watch(until: float) -> None:
        while time.perf_counter() < until:
            memory.append(gateway.memory_mb())
            await asyncio.sleep(MEMORY_EVERY_SECONDS)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        until = time.perf_counter() + SOAK_WARM_UP_SECONDS
        await asyncio.gather(*(without_a_pause(session, until) for _ in range(SOAK_CLIENTS)))
        rate, before = sent / SOAK_WARM_UP_SECONDS * SOAK_LOAD, sent
        began = time.perf_counter()
        until = began + minutes * 60
        watching = asyncio.create_task(watch(until))
        await asyncio.gather(*(on_time(session, turn, until) for turn in range(SOAK_CLIENTS)))
        elapsed = time.perf_counter() - began
        await watching
        async with session.get(f"{upstream}/count") as response:
            asked = (await response.json())["count"]
    took.sort()
    fifth = max(1, len(memory) // 5)
    early, late = statistics.median(memory[fifth : 2 * fifth] or memory), statistics.median(memory[-fifth:])
    return {
        "minutes": minutes,
        "wanted_per_second": round(rate),
        "requests_per_second": round((sent - before) / elapsed),
        "requests": sent,
        "errors": errors,
        "p50_ms": round(took[len(took) // 2], 1),
        "p99_ms": round(took[int(len(took) * 0.99)], 1),
        "memory_mb_at_begin": round(memory[0]),
        "memory_mb_at_end": round(memory[-1]),
        "memory_mb_early": round(early),
        "memory_mb_late": round(late),
        "memory_is_flat": "yes" if late <= early * MOST_GROWTH else "no",
        "server_was_asked": asked,
    }


def soaked(asked: Any, database_url: str) -> list[dict[str, Any]]:
    """The soak, and whether every call that the server saw is recorded, and every record ended."""
    with tempfile.TemporaryDirectory() as name, running(0) as upstream:
        with study_gateway(upstream, database_url, Path(name) / "home") as gateway:
            found = asyncio.run(soak(gateway, upstream, asked.minutes))
        with psycopg.connect(database_url) as connection:
            counted: Callable[[str], int] = lambda topic: _count(connection, topic)  # noqa: E731
            found["requested"], found["answered"] = counted("call.requested.v1"), counted("call.answered.v1")
    everything = {found["server_was_asked"], found["requested"], found["answered"]}
    return [{**found, "reconciled": "yes" if len(everything) == 1 else "no"}]


def _count(connection: psycopg.Connection, topic: str) -> int:
    row = connection.execute("SELECT count(*) FROM events.events WHERE topic = %s", [topic]).fetchone()
    return 0 if row is None else int(row[0])


def main() -> None:
    """Measure everything in one run and show it."""
    parser = options(__doc__, seconds=5.0)
    parser.add_argument(
        "--litellm-venv", help="where LiteLLM's proxy is, or is to be installed; else a folder for this run"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave LiteLLM's proxy out")
    parser.add_argument("--soak", action="store_true", help="80 %% of the most load for a long time, instead")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long a soak takes")
    asked = parser.parse_args()
    with server(asked.database_url) as (database_url, machine):
        if asked.soak:
            show(machine, {"soak": soaked(asked, database_url)}, as_json=asked.json)
            return
        rows = compared(asked, database_url)
    show(machine, {"gateway": rows, "targets": targets(rows, machine["fsyncs_per_second"])}, as_json=asked.json)


if __name__ == "__main__":
    main()
