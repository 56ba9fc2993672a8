"""The examples of answers in the OpenAPI document are answers: this asks a server for them.

`python -m tests.interfaces.http.examples` writes interfaces/http/examples.json anew.
"""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import numpy as np

from domain.sweeps import SweepConfig
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store.migrations import migrate
from infrastructure.settings import Settings, read_settings
from interfaces.composition import open_study
from interfaces.http.summaries import EXAMPLE as SUMMARISED
from tests.interfaces.http.conftest import serving

EXAMPLES = Path(__file__).parents[3] / "interfaces" / "http" / "examples.json"
FEW = 2  # items of a list; an example is to be read

Json = dict[str, Any]


def answers(http: httpx.Client, sweeps: Sequence[UUID]) -> Json:
    """An answer of each operation that answers with JSON. sweeps: two that are finished"""
    found: Json = {}

    def asked(name: str, method: str, address: str, body: Any = None, **more: Any) -> Json:
        answer = http.request(method, address, json=body, **more)
        assert answer.status_code < 300, (name, answer.text)
        found[name] = _short(answer.json())
        return dict(answer.json())

    _of_calls(asked)
    group = _of_groups(asked, found["ask_model"]["call_id"])
    _of_files(asked, group)
    _of_conversations(asked)
    for name, address in (
        ("list_sweeps", "/api/sweeps"),
        ("get_sweep", f"/api/sweeps/{sweeps[0]}"),
        ("compare_sweeps", f"/api/sweeps/{sweeps[0]}/compare/{sweeps[1]}"),
        ("list_methods", "/api/methods"),
        ("list_rules", "/api/rules"),
        ("list_tokens", "/api/tokens"),
        ("list_projections", "/api/projections"),
        ("list_providers", "/api/providers"),
        ("list_models", "/api/providers/local/models"),
        ("list_log", "/api/audit/events"),
        ("summarise_calls", "/api/analytics/summary"),
        ("compare_providers", "/api/analytics/providers"),
        ("see_over_time", "/api/analytics/timeseries?bucket=day"),
        ("see_errors", "/api/analytics/errors"),
        ("see_recent", "/api/analytics/recent"),
        ("list_unanswered", "/api/audit/unanswered"),
        ("get_provenance", f"/api/provenance/call/{found['ask_model']['call_id']}"),
        ("list_linked", f"/api/provenance/links/attempts/call/{found['ask_model']['call_id']}"),
        ("live", "/health/live"),
        ("ready", "/health/ready"),
    ):
        asked(name, "GET", address)
    asked("validate_deployments", "POST", "/api/providers/local/validate", {"models": ["local-ngrams"]})
    asked("rebuild_projection", "POST", "/api/projections/conversations/rebuild")
    return found


def _of_calls(asked: Callable[..., Json]) -> None:
    prompt = {"prompt": "Name three primes.", "provider": "local"}
    call = asked("ask_model", "POST", "/api/calls", prompt)
    at = {"at_least": call["position"]}
    asked("list_calls", "GET", "/api/calls", params=at)
    asked("list_calls/search", "GET", "/api/calls", params={**at, "q": "primes -rome"})
    for name, way in (
        ("get_call", ""),
        ("list_attempts", "/attempts"),
        ("list_events", "/events"),
        ("list_bytes", "/bytes"),
    ):
        asked(name, "GET", f"/api/calls/{call['call_id']}{way}")
    asked(
        "ask_batch", "POST", "/api/batches", {"questions": [prompt, {"prompt": "And a square.", "provider": "local"}]}
    )
    asked("summarise", "POST", "/api/summaries", SUMMARISED)
    asked("embed_texts", "POST", "/api/embeddings", {"texts": ["a cat", "a dog"], "provider": "local", "dimensions": 8})
    asked("search_embeddings", "POST", "/api/embeddings/search", {"vector": [1.0] + [0.0] * 7, "limit": 2})


def _of_groups(asked: Callable[..., Json], call_id: str) -> str:
    run, step = (
        asked("create_group", "POST", "/api/groups", {"group_type": kind, "name": name})["group_id"]
        for kind, name in (("run", "march"), ("step", "k=2"))
    )
    address = f"/api/groups/{run}"
    asked("list_groups", "GET", "/api/groups")
    asked("get_group", "GET", address)
    asked("describe_group", "PATCH", address, {"description": "The first try", "metadata": {"algorithm": "k-means"}})
    member = {"call_id": call_id, "role": "output", "position": 0}
    asked("add_members", "POST", f"{address}/members", {"members": [member]})
    asked("list_members", "GET", f"{address}/members")
    asked("link_groups", "POST", f"{address}/links", {"child_group_id": step, "link_type": "step", "position": 1})
    asked("list_children", "GET", f"{address}/children")
    asked("list_parents", "GET", f"/api/groups/{step}/parents")
    asked("list_steps", "GET", f"{address}/steps")
    asked("list_dependencies", "GET", f"{address}/dependencies", params={"link_type": "step"})
    asked("unlink_groups", "DELETE", f"{address}/links", {"child_group_id": step, "link_type": "step"})
    asked("remove_members", "DELETE", f"{address}/members", {"members": [{"call_id": call_id}]})
    return str(run)


def _of_files(asked: Callable[..., Json], group_id: str) -> None:
    rows = [
        {"text": "what's the spanish word for pasta", "intent": "translate"},
        {"text": "set a timer", "intent": "timer"},
    ]
    asked("import_dataset", "POST", "/api/datasets", {"name": "intents", "rows": rows, "text_column": "text"})
    asked(
        "sample_dataset", "POST", "/api/datasets/samples", {"dataset": "intents", "name": "few", "rows": 1, "seed": 7}
    )
    asked("list_datasets", "GET", "/api/datasets")
    asked("get_dataset", "GET", "/api/datasets/intents")
    form = {
        "data": {"group_id": group_id, "artifact_type": "results"},
        "files": {"file": ("results.json", b"[1, 2, 3]")},
    }
    kept = asked("keep_artifact", "POST", "/api/artifacts", **form)
    asked("list_artifacts", "GET", "/api/artifacts")
    asked("get_artifact", "GET", f"/api/artifacts/{kept['artifact_id']}")


def _of_conversations(asked: Callable[..., Json]) -> None:
    begun = asked("start_conversation", "POST", "/api/conversations", {"system": "Be brief.", "provider": "local"})
    address = f"/api/conversations/{begun['conversation_id']}"
    turn = asked("say", "POST", f"{address}/messages", {"content": "Name three primes."})
    asked("list_conversations", "GET", "/api/conversations", params={"at_least": turn["position"]})
    asked("get_conversation", "GET", address)
    asked("fork_conversation", "POST", f"{address}/fork", {"at": 1})
    asked("close_conversation", "DELETE", address)


def _short(answer: Json) -> Json:
    return {name: value[:FEW] if name in ("items", "nodes", "edges") else value for name, value in answer.items()}


async def _sweeps(settings: Settings) -> list[UUID]:
    vectors = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    async with open_study(settings) as study:
        configs = [SweepConfig(method="k-means", k_values=(2,), restarts=2, pca_dim=None, seed=seed) for seed in (0, 1)]
        return [await study.sweeps.of_vectors(vectors, study.context(), config=config) for config in configs]


def main() -> None:
    """Write them."""
    with tempfile.TemporaryDirectory() as folder:
        embedded = EmbeddedPostgres(Path(folder) / "postgres")
        running = embedded.start(lambda running: running)
        try:
            migrate(running.owner_uri)
            settings = read_settings(database_url=running.owner_uri, study_home=Path(folder) / "home")
            sweeps = asyncio.run(_sweeps(settings))
            with serving(settings) as address, httpx.Client(base_url=address, timeout=60) as http:
                found = answers(http, sweeps)
        finally:
            embedded.stop()
    EXAMPLES.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


if __name__ == "__main__":
    main()
