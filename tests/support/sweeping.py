"""A sweep without a database: thirty vectors in three heaps, a store over a list, and a compute that obeys."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from application.call_provider import Stopping
from application.cancel_sweep import CancelSweep
from application.gather_sweep import GatherSweep
from application.group_calls import GroupCalls
from application.import_dataset import ImportDataset
from application.k_llm_means import KLlmMeans
from application.keep_artifact import KeepArtifact
from application.keep_sweep import KeepSweep
from application.name_clusters import NameClusters
from application.recall_sweep import RecallSweep
from application.resume_sweep import ResumeSweep
from application.run_sweep import RunSweep
from application.summarise_texts import SummariseTexts
from application.sweep_request import SweepRequest
from application.sweep_turns import SweepTurns
from domain.errors import NotFound, Unavailable
from domain.identity import sha256_hex
from domain.sweeps import SweepConfig, SweepSource
from infrastructure.table_files import ColumnarFiles
from tests.support.asking import ask_batch, ask_model, deployed
from tests.support.embedding import embed_texts
from tests.support.given_when_then import CountingIds, ListStore, notebook
from tests.support.scripted_provider import ScriptedProvider

TEXTS = tuple(f"text {number}" for number in range(30))
LABELS = tuple("abc"[number // 10] for number in range(30))


def blobs() -> np.ndarray[Any, np.dtype[np.float32]]:
    chance = np.random.default_rng(0)
    return (np.repeat(np.eye(3, 6), 10, axis=0) + chance.normal(0, 0.05, (30, 6))).astype(np.float32)


class DictFiles:
    """The port ArtifactFiles over a dict."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    async def keep(self, content: bytes) -> str:
        self.contents[sha256_hex(content)] = content
        return sha256_hex(content)

    async def holds(self, sha256: str) -> bool:
        return sha256 in self.contents

    async def read(self, sha256: str) -> bytes:
        if sha256 not in self.contents:
            raise NotFound(sha256)
        return self.contents[sha256]


class AtOnce:
    """The ports Compute and Computes, which may be told to break at a K, or to wait there."""

    at_once = 2

    def __init__(self) -> None:
        self.breaks_at: int | None = None
        self.waits_at: int | None = None
        self.steps: list[int] = []
        self.shared = 0

    @asynccontextmanager
    async def at(self, place: str) -> AsyncIterator["AtOnce"]:
        if place != "local":
            raise Unavailable(f"There is nobody at {place}")
        yield self

    async def share(self, value: Any) -> Any:
        self.shared += 1
        return value

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__name__ == "run_step":
            if arguments[1] == self.breaks_at:
                raise RuntimeError("the machine caught fire")
            while arguments[1] == self.waits_at:
                await asyncio.sleep(0)
            self.steps.append(arguments[1])
        return function(*arguments)


class Sweeping:
    """Everything that a sweep needs, in one process; another one may share its store and files."""

    def __init__(
        self,
        provider: ScriptedProvider | None = None,
        *,
        store: ListStore | None = None,
        beside: "Sweeping | None" = None,
    ) -> None:
        self.store = (store or ListStore()) if beside is None else beside.store
        self.files = DictFiles() if beside is None else beside.files
        self.compute = AtOnce()
        self.provider = provider or ScriptedProvider()
        self.process = "00000000000000a1" if beside is None else "00000000000000b2"
        book = notebook(self.store, process=self.process)
        book.ids = CountingIds(after=100 * len(self.store.events))  # no two processes make the same
        groups = GroupCalls(book)
        keep_artifact = KeepArtifact(book, self.files)
        keep = KeepSweep(groups, keep_artifact, ColumnarFiles())
        ask = ask_model(book, self.store, self.provider, attempts=1)
        self.turns = SweepTurns(book)
        summarise = SummariseTexts(ask, ask_batch(book, self.store, ask), deployed)
        rounds = KLlmMeans(keep, summarise, embed_texts(book, self.store, self.provider), book.clock)
        names = NameClusters(groups, summarise)
        self.run = RunSweep(self.turns, keep, names, rounds, self.compute, lambda: {"numpy": "2"}, Stopping())
        self.cancel = CancelSweep(self.turns)
        self.datasets = ImportDataset(book, groups, keep_artifact, ColumnarFiles())
        gather = GatherSweep(None, self.datasets, groups)  # type: ignore[arg-type] - nothing is embedded here
        self.keep_vectors = gather.from_vectors
        self.resume = ResumeSweep(
            self.run,
            RecallSweep(gather, self.datasets, keep, None),  # type: ignore[arg-type]
        )

    def count(self, *fact_types: type) -> int:
        return len(self.store.facts(*fact_types))


def config_of(**changes: Any) -> SweepConfig:
    given = {
        "method": "k-means",
        "k_values": (2, 3, 4),
        "restarts": 3,
        "pca_dim": 4,
        "summarise": "scripted/m",
        **changes,
    }
    return SweepConfig(**given)


def request(*, source: dict[str, Any] | None = None, **changes: Any) -> SweepRequest:
    known = {"vectors_sha256": "v", "n_samples": 30, "n_features": 6, "dataset_name": "blobs", **(source or {})}
    return SweepRequest(
        vectors=blobs(), config=config_of(**changes), source=SweepSource(**known), texts=TEXTS, labels=LABELS
    )
