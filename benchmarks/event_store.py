"""Captured calls a second: request and answer durable, bodies included, against a provider that answers at once.

    python -m benchmarks.event_store [--database-url URL] [--seconds 4] [--json]

Printed beside: how often the disk under the database can fsync, and what the eventsourcing library's own recorder
appends in the same run on the same server.
"""

import asyncio
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ask_model import AskModel, Question
from application.call_provider import AttemptPolicy, CallProvider
from application.group_calls import GroupCalls
from application.notebook import Context, Notebook
from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, ProviderAnswer
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from benchmarks.server import options, server, show
from domain.calls import Tokens
from infrastructure.answer_journal import AnswerJournal
from infrastructure.clock import SystemClock, TimeOrderedIds
from infrastructure.event_store.keeper import new_process_number
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.token_counting import PublishedEncodings

BODY_BYTES = 2_500
TASKS = (1, 10, 100, 1_000)
TARGET_CALLS_PER_SECOND = 4_000


class AtOnce:
    """A provider in this process that answers with 2.5 KB and no delay."""

    name = "at-once"
    endpoint = "memory"

    def __init__(self) -> None:
        words = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=BODY_BYTES - 100))
        self._answer = msgspec.json.encode({"choices": [{"message": {"role": "assistant", "content": words}}]})

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        body = msgspec.json.encode({"model": "none", "messages": request.messages})
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation="chat", model="none", body=body)

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        raise AssertionError(f"this benchmark embeds nothing, not even {len(request.texts)} texts")

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        return ProviderAnswer(
            body=self._answer,
            media_type="application/json",
            http_status=200,
            headers={},
            model=prepared.model,
            tokens=Tokens(prompt=400, completion=400, total=800),
            latency_ms=0.0,
            text_path=("choices", "0", "message", "content"),
        )

    async def models(self) -> list[str]:
        return ["none"]

    async def aclose(self) -> None:
        return None


class OneProvider:
    """A directory of one."""

    def __init__(self) -> None:
        self._provider = AtOnce()

    def create(self, _name: str | None) -> AtOnce:
        return self._provider


class NothingAnswered:
    """The read model of answered calls, which this benchmark does without."""

    async def last_answered(self, request_hash: str, *, at_least: int) -> UUID | None:
        return None


async def captured(uri: str, tasks: int, seconds: float) -> dict[str, Any]:
    """Ask with so many tasks at once for a while; each asks anew when its answer is durable."""
    number = new_process_number()
    store = PostgresEventStore(uri, process=number)
    journal = AnswerJournal(Path(tempfile.gettempdir()) / "study-benchmark", process=f"{number:016x}")
    notebook = Notebook(store, journal, clock=SystemClock(), ids=TimeOrderedIds(), process=f"{number:016x}")
    policy = AttemptPolicy(attempts=1)
    share = ShareCalls(notebook, CallProvider(notebook, chance=random.Random(0)))
    ask = AskModel(
        share,
        ReuseAnswers(notebook, NothingAnswered()),
        OneProvider(),
        GroupCalls(notebook),
        lambda: policy,
        PublishedEncodings(),
    )
    context = Context("benchmark", uuid4())
    prompt = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz ", k=BODY_BYTES - 60))
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds

    async def keep_asking(task: int) -> None:
        asked = 0
        while (began := time.perf_counter()) < deadline:
            await ask(Question(prompt=f"{task} {asked} {prompt}"), context)
            asked += 1
            latencies.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(keep_asking(task) for task in range(tasks)))
    elapsed = time.perf_counter() - began
    store.close()
    latencies.sort()
    return {
        "tasks": tasks,
        "calls_per_second": round(len(latencies) / elapsed),
        "latency_ms_p50": round(latencies[len(latencies) // 2], 2),
        "latency_ms_p99": round(latencies[int(len(latencies) * 0.99)], 2),
    }


def stock(uri: str, threads: int, seconds: float) -> dict[str, Any]:
    """The library's own recorder: two events of 2.5 KB a save, as one call would need."""
    parts = conninfo_to_dict(uri)
    datastore = PostgresDatastore(
        dbname=str(parts["dbname"]),
        host=str(parts.get("host", "")),
        port=str(parts.get("port", "5432")),
        user=str(parts.get("user", "")),
        password=str(parts.get("password", "")),
        pool_size=threads,
    )
    recorder = PostgresApplicationRecorder(datastore, events_table_name=f"stock_{uuid4().hex[:8]}")
    recorder.create_table()
    state = os.urandom(BODY_BYTES // 2).hex().encode()
    saves: list[int] = []
    deadline = time.perf_counter() + seconds

    def keep_saving() -> None:
        count = 0
        while time.perf_counter() < deadline:
            originator = uuid4()
            recorder.insert_events([StoredEvent(originator, version, "call", state) for version in (1, 2)])
            count += 1
        saves.append(count)

    began = time.perf_counter()
    _run_threads(keep_saving, threads)
    elapsed = time.perf_counter() - began
    datastore.close()
    return {"threads": threads, "calls_per_second": round(sum(saves) / elapsed)}


def _run_threads(work: Callable[[], None], threads: int) -> None:
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def main() -> None:
    """Measure everything on one server, one after the other."""
    chosen = options(__doc__, seconds=4.0).parse_args()
    with server(chosen.database_url) as (uri, machine):
        tables = {
            "captured calls": [asyncio.run(captured(uri, tasks, chosen.seconds)) for tasks in TASKS],
            "stock library": [stock(uri, threads, chosen.seconds) for threads in (1, 8)],
        }
    target = {"target_calls_per_second_at_1000_tasks": TARGET_CALLS_PER_SECOND}
    show({**machine, **target}, tables, as_json=chosen.json)


if __name__ == "__main__":
    main()
