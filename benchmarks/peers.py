"""What people ask of their record of calls, asked of ours, of MLflow's tracking server and of Phoenix.

    python -m benchmarks.peers --mlflow-venv DIR --phoenix-venv DIR [--calls 100000] [--home FOLDER] [--seconds 5]

The same made-up calls of 60 days (see benchmarks/made_calls.py) lie in three databases of one Postgres: ours as
`benchmarks.queries` fills them, the peers' as OpenTelemetry spans sent to their own servers, one trace a call, which
takes MLflow half an hour for 100,000. Phoenix, which would take hours, is sent the first 500, and the others are put
beside them in rows of the same form. Given a home, the databases are kept there and asked again the next time. The
environments are made where there are none.

Then each question is asked over HTTP of one server after the other, again and again: p50 and p95 in milliseconds, and
how many items came, so that it can be seen that all answered the same question.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import psycopg

from benchmarks.filling import fill
from benchmarks.made_calls import DAYS, Study
from benchmarks.peer_servers import (
    INGESTED_SECONDS,
    database,
    json_of,
    mlflow_server,
    phoenix_server,
    project_of,
    send_to_mlflow,
    send_to_phoenix,
    study_server,
)
from benchmarks.queries import is_empty
from benchmarks.server import options, server, show

RARE, NONE = "marmalade", "xylophone"
SPANS_OF_PROJECT = """
    query ($id: ID!, $filter: String) { node(id: $id) { ... on Project {
        spans(first: 50, sort: {col: startTime, dir: desc}, filterCondition: $filter) { edges { node {
            spanId startTime latencyMs statusCode tokenCountTotal input { truncatedValue } output { truncatedValue }
        } } } } } }
"""
HOURS_OF_PROJECT = """
    query ($id: ID!, $range: TimeRange!) { node(id: $id) { ... on Project {
        traceCountByStatusTimeSeries(timeRange: $range, timeBinConfig: {scale: HOUR}) { data {
            timestamp okCount errorCount totalCount
        } } } } }
"""

Ask = Callable[[], int]


class Peer(NamedTuple):
    """A server that is asked: each question by its name, answered with how many items came."""

    name: str
    questions: Mapping[str, Ask]


def ours(address: str, begin: datetime, end: datetime) -> Peer:
    """`study serve`."""
    client = httpx.Client(base_url=f"{address}/api", timeout=60)

    def calls(**filters: str) -> int:
        return len(json_of(client.get("/calls", params={"limit": "50", **filters}))["items"])

    def hours() -> int:
        wanted = {"bucket": "hour", "since": begin.isoformat(), "until": end.isoformat()}
        found = json_of(client.get("/analytics/timeseries", params=wanted))["items"]
        return len({each["at"] for each in found})

    return Peer(
        "study",
        {
            "newest 50": calls,
            "newest 50 of a model": lambda: calls(model="o4-mini"),
            "newest 50 failed": lambda: calls(status="failed"),
            "a word of 0.1 %": lambda: calls(q=RARE),
            "a word of none": lambda: calls(q=NONE),
            "hours of 30 days": hours,
        },
    )


def mlflow(address: str, experiment: str, begin: datetime, end: datetime) -> Peer:
    """MLflow's tracking server."""
    client = httpx.Client(base_url=f"{address}/api/3.0/mlflow/traces", timeout=600)
    where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}]

    def traces(wanted: str = "") -> int:
        asked = {"locations": where, "filter": wanted, "max_results": 50, "order_by": ["timestamp_ms DESC"]}
        return len(json_of(client.post("/search", json=asked)).get("traces", ()))

    def hours() -> int:
        asked = {
            "experiment_ids": [experiment],
            "view_type": "TRACES",
            "metric_name": "trace_count",
            "aggregations": [{"aggregation_type": "COUNT"}],
            "time_interval_seconds": 3600,
            "start_time_ms": int(begin.timestamp() * 1000),
            "end_time_ms": int(end.timestamp() * 1000),
        }
        return len(json_of(client.post("/metrics", json=asked))["data_points"])

    return Peer(
        "MLflow",
        {
            "newest 50": traces,
            "newest 50 of a model": lambda: traces("span.attributes.llm.model_name LIKE '%o4-mini%'"),
            "newest 50 failed": lambda: traces("trace.status = 'ERROR'"),
            "a word of 0.1 %": lambda: traces(f"trace.text LIKE '%{RARE}%'"),
            "a word of none": lambda: traces(f"trace.text LIKE '%{NONE}%'"),
            "hours of 30 days": hours,
        },
    )


def phoenix(address: str, begin: datetime, end: datetime) -> Peer:
    """Phoenix."""
    client = httpx.Client(base_url=address, timeout=600)
    project = project_of(client)["id"]

    def node(query: str, **variables: Any) -> dict[str, Any]:
        answer = json_of(client.post("/graphql", json={"query": query, "variables": {"id": project, **variables}}))
        found: dict[str, Any] = answer["data"]["node"]
        return found

    def spans(wanted: str | None = None) -> int:
        return len(node(SPANS_OF_PROJECT, filter=wanted)["spans"]["edges"])

    def hours() -> int:
        found = node(HOURS_OF_PROJECT, range={"start": begin.isoformat(), "end": end.isoformat()})
        return sum(each["totalCount"] > 0 for each in found["traceCountByStatusTimeSeries"]["data"])

    return Peer(
        "Phoenix",
        {
            "newest 50": spans,
            "newest 50 of a model": lambda: spans("llm.model_name == 'o4-mini'"),
            "newest 50 failed": lambda: spans("status_code == 'ERROR'"),
            "a word of 0.1 %": lambda: spans(f"'{RARE}' in output.value"),
            "a word of none": lambda: spans(f"'{NONE}' in output.value"),
            "hours of 30 days": hours,
        },
    )


def measure(peers: list[Peer], seconds: float) -> list[dict[str, Any]]:
    """Each question of each in turn, for so long altogether, after one answer that is not counted."""
    rows = []
    for question in peers[0].questions:
        items = {peer.name: peer.questions[question]() for peer in peers}
        times: dict[str, list[float]] = {peer.name: [] for peer in peers}
        until = time.monotonic() + seconds
        while time.monotonic() < until or min(map(len, times.values())) < 2:
            for peer in peers:
                began = time.perf_counter()
                peer.questions[question]()
                times[peer.name].append((time.perf_counter() - began) * 1000)
        for name, taken in times.items():
            p50 = statistics.median(taken)
            rows.append(
                {
                    "question": question,
                    "server": name,
                    "p50_ms": round(p50, 1),
                    "p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1),
                    "times_ours": round(p50 / statistics.median(times["study"]), 1),
                    "items": items[name],
                    "times": len(taken),
                }
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """Fill, send, ask, tell."""
    parser = options(__doc__, seconds=5.0)
    parser.add_argument("--calls", type=int, default=100_000, help="how many calls each server holds")
    parser.add_argument("--home", type=Path, help="where to keep the databases, to be asked again")
    parser.add_argument("--mlflow-venv", type=Path, required=True, help="MLflow's environment; made if it isn't there")
    parser.add_argument("--phoenix-venv", type=Path, required=True, help="Phoenix's; made if it isn't there")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = given.home or Path(stack.enter_context(TemporaryDirectory()))
        uri, machine = stack.enter_context(server(None, home=folder / "postgres"))
        study = Study(given.calls, datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=DAYS))
        if is_empty(uri):
            fill(uri, study.calls, processes=2, seconds=INGESTED_SECONDS)
        with psycopg.connect(uri) as connection:
            row = connection.execute("SELECT count(*), max(created_at) FROM projections.calls").fetchone()
        assert row is not None
        calls, end = row
        if calls != study.calls:
            raise SystemExit(f"{given.home} holds {calls} calls; name another home, or --calls {calls}")
        lately = (end - timedelta(days=30), end)
        ours_at = stack.enter_context(study_server(uri, folder))
        mlflow_at = stack.enter_context(mlflow_server(database(uri, "mlflow"), folder, given.mlflow_venv))
        phoenix_at = stack.enter_context(phoenix_server(database(uri, "phoenix"), folder, given.phoenix_venv))
        experiment = send_to_mlflow(mlflow_at, given.mlflow_venv, study)
        send_to_phoenix(phoenix_at, given.phoenix_venv, study, database(uri, "phoenix"))
        for name in ("mlflow", "phoenix"):
            with psycopg.connect(database(uri, name), autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")
        peers = [ours(ours_at, *lately), mlflow(mlflow_at, experiment, *lately), phoenix(phoenix_at, *lately)]
        show({**machine, "calls": calls}, {"questions": measure(peers, given.seconds)}, as_json=given.json)


if __name__ == "__main__":
    main()
