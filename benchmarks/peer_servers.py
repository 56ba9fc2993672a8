"""The servers that `benchmarks/peers.py` compares, each in a process of its own on one Postgres, and their calls."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.gateways import free_port, serving
from benchmarks.made_calls import Study
from domain.calls import CallAnswered, CallCancelled, CallFailed, CallRequested

MLFLOW = ("mlflow==3.17.2", "psycopg2-binary")
PHOENIX = ("arize-phoenix[pg]==20.26.1",)
SPANS = Path(__file__).with_name("otlp_spans.py")
INGESTED_SECONDS = 3600
SENT = 500  # calls that Phoenix is sent
SPAN = (
    *("span_id", "name", "span_kind", "start_time", "end_time", "status_code", "status_message"),
    *("cumulative_error_count", "cumulative_llm_token_count_prompt", "cumulative_llm_token_count_completion"),
    *("llm_token_count_prompt", "llm_token_count_completion", "attributes", "events"),
)


@contextmanager
def study_server(uri: str, folder: Path) -> Iterator[str]:
    """Ours, on a database."""
    settings = {"DATABASE_URL": uri, "STUDY_HOME": str(folder / "study"), "STUDY_LOG_LEVEL": "warning"}
    port = free_port()
    with serving(
        "study", [sys.executable, "-m", "interfaces.serving", "--port", str(port)], settings, port, path="/health/ready"
    ) as running:
        yield running.url


@contextmanager
def mlflow_server(uri: str, folder: Path, venv: Path) -> Iterator[str]:
    """MLflow's, one worker, on a database."""
    _environment(venv, "mlflow", MLFLOW)
    port = free_port()
    words = [str(venv / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", uri.replace("postgresql:", "postgresql+psycopg2:")]
    words += ["--default-artifact-root", str(folder / "mlflow")]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with serving("mlflow", words, settings, port, path="/health") as running:
        yield running.url


@contextmanager
def phoenix_server(uri: str, folder: Path, venv: Path) -> Iterator[str]:
    """Phoenix, on a database."""
    _environment(venv, "phoenix", PHOENIX)
    port = free_port()
    settings = {
        "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_SQL_DATABASE_URL": uri,
    }
    words = [str(venv / "bin" / "phoenix"), "serve"]
    with serving("phoenix", words, settings, port, path="/healthz") as running:
        yield running.url


def calls_of(study: Study) -> Iterator[dict[str, Any]]:
    """The study's calls as spans, in the words of OpenInference, which both peers know."""
    asked: dict[Any, tuple[CallRequested, datetime, str]] = {}
    for chunk in range(study.chunks):
        for event, at in study.chunk(chunk):
            fact = event.fact
            if isinstance(fact, CallRequested):
                prompt = json.loads(event.payloads[0].body or b"")["messages"][0]["content"]
                asked[event.stream_id] = (fact, at, prompt)
            elif isinstance(fact, CallAnswered | CallFailed | CallCancelled):
                request, begin, prompt = asked.pop(event.stream_id)
                begin_ns = int(begin.timestamp()) * 10**9
                attributes: dict[str, Any] = {
                    "openinference.span.kind": "LLM",
                    "llm.provider": request.provider,
                    "llm.model_name": request.model,
                    "input.value": prompt,
                }
                if isinstance(fact, CallAnswered):
                    answer = json.loads(event.payloads[0].body or b"")
                    attributes["output.value"] = answer["choices"][0]["message"]["content"]
                    for kind in ("prompt", "completion", "total"):
                        attributes[f"llm.token_count.{kind}"] = getattr(fact.tokens, kind)
                yield {
                    "id": event.stream_id.hex,
                    "begin_ns": begin_ns,
                    "end_ns": begin_ns + int((at - begin).total_seconds() * 10**9),
                    "ok": isinstance(fact, CallAnswered),
                    "attributes": attributes,
                }


def send_to_mlflow(address: str, venv: Path, study: Study) -> str:
    """The experiment that holds the calls, which are sent if it is new."""
    with httpx.Client(base_url=f"{address}/api/2.0/mlflow/experiments", timeout=60) as client:
        name = f"{study.calls} calls"
        found = client.get("/get-by-name", params={"experiment_name": name})
        if found.is_success:
            return str(found.json()["experiment"]["experiment_id"])
        experiment = str(json_of(client.post("/create", json={"name": name}))["experiment_id"])
    _send(venv, f"{address}/v1/traces", {"x-mlflow-experiment-id": experiment}, calls_of(study))
    return experiment


def send_to_phoenix(address: str, venv: Path, study: Study, uri: str) -> None:
    """Send the first of them if there are none, and put the others where it has put these, in rows of the same form.

    It takes them all in, and then writes ten to a hundred a second.
    """
    with httpx.Client(base_url=address, timeout=600) as client:
        if project_of(client)["recordCount"] < min(SENT, study.calls):
            _send(venv, f"{address}/v1/traces", {}, islice(calls_of(study), SENT))
        until = time.monotonic() + INGESTED_SECONDS
        while (written := project_of(client)["recordCount"]) < min(SENT, study.calls):
            if time.monotonic() > until:
                raise SystemExit(f"Phoenix has written {written} of {SENT} calls, and no more")
            time.sleep(2)
        if written < study.calls:
            put_into_phoenix(uri, study)
            if (written := project_of(client)["recordCount"]) != study.calls:
                raise SystemExit(f"Phoenix holds {written} of {study.calls} calls")


def put_into_phoenix(uri: str, study: Study) -> None:
    """Write the calls that were not sent, if those that were are such rows as are written here."""
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT max(id), (SELECT max(id) FROM spans) FROM traces").fetchone()
        assert row is not None
        trace_row, span_row = row
        with connection.cursor() as cursor:
            for call in islice(calls_of(study), 3):
                cursor.execute(f"SELECT {', '.join(SPAN)} FROM spans WHERE span_id = %s", (call["id"][16:],))
                if cursor.fetchone() != (*_span(call)[:-2], json.loads(_span(call)[-2]), []):
                    raise SystemExit("Phoenix keeps spans in another form than benchmarks/peer_servers.py knows")
            with cursor.copy("COPY traces (id, project_rowid, trace_id, start_time, end_time) FROM STDIN") as copy:
                for number, call in enumerate(islice(calls_of(study), SENT, None), start=1):
                    copy.write_row((trace_row + number, 1, call["id"], *_times(call)))
            with cursor.copy(f"COPY spans (id, trace_rowid, {', '.join(SPAN)}) FROM STDIN") as copy:
                for number, call in enumerate(islice(calls_of(study), SENT, None), start=1):
                    copy.write_row((span_row + number, trace_row + number, *_span(call)))
            for table in ("traces", "spans"):
                cursor.execute(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))".encode())


def _times(call: Mapping[str, Any]) -> tuple[datetime, datetime]:
    begin = datetime.fromtimestamp(call["begin_ns"] // 10**9, UTC)
    return begin, begin + timedelta(microseconds=(call["end_ns"] - call["begin_ns"]) // 1000)


def _span(call: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row of SPAN."""
    nested: dict[str, Any] = {}
    for name, value in call["attributes"].items():
        *path, last = name.split(".")
        inner = nested
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    counts = [call["attributes"].get(f"llm.token_count.{kind}") for kind in ("prompt", "completion")]
    ok = call["ok"]
    known = (call["id"][16:], "chat", "LLM", *_times(call), "OK" if ok else "ERROR", "", int(not ok))
    return (*known, *(count or 0 for count in counts), *counts, json.dumps(nested), "[]")


def _send(venv: Path, address: str, headers: Mapping[str, str], calls: Iterable[Mapping[str, Any]]) -> None:
    words = [str(venv / "bin" / "python"), str(SPANS), address, json.dumps(headers)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        for call in calls:
            process.stdin.write(json.dumps(call) + "\n")
        process.stdin.close()
        if process.wait():
            raise SystemExit(f"Not all calls could be sent to {address}")


def project_of(client: httpx.Client) -> dict[str, Any]:
    """Phoenix's only project: its id, and how many spans it holds."""
    answer = json_of(client.post("/graphql", json={"query": "{projects{edges{node{id recordCount}}}}"}))
    project: dict[str, Any] = answer["data"]["projects"]["edges"][0]["node"]
    return project


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """What was answered, if that is no error."""
    document: dict[str, Any] = answer.raise_for_status().json()
    if "errors" in document:
        raise SystemExit(f"{answer.request.url}: {document['errors']}")
    return document


def _environment(venv: Path, program: str, packages: tuple[str, ...]) -> None:
    if not (venv / "bin" / program).exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", *packages], check=True)


def database(uri: str, name: str) -> str:
    """A peer's database beside ours, made if it isn't there; its address in the form that libraries know."""
    with psycopg.connect(uri, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            connection.execute(f"CREATE DATABASE {name}".encode())
    parts = conninfo_to_dict(make_conninfo(uri, dbname=name))
    return f"postgresql://{parts['user']}@/{name}?host={parts['host']}"
