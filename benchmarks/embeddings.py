"""Embedding texts: cold against a server without delay, then warm, then warm again; and the same with other caches.

    python -m benchmarks.embeddings [--texts 100000] [--dimensions 384] [--database-url URL] [--no-peers] [--json]

The others, where they are installed (`pip install langchain-classic langchain-community greenlet llm`): LangChain's
CacheBackedEmbeddings on its file store and on its SQL store, and what `llm embed-multi` does. They get the same server,
the same batches and one client each; every vector that comes back is compared with what the server gave.
"""

import os
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray

import study_query_llm as sq
from application.text_batches import TEXTS_PER_REQUEST
from benchmarks.embedding_server import running, vectors_of
from benchmarks.server import options, server, show

TARGET_WARM_TEXTS_PER_SECOND = 50_000
TARGET_TIMES_THE_BEST_PEER = 10
PASSES = ("cold", "warm", "warm again")
WORDS = 12  # in a text

Vectors = NDArray[np.float32]
Embed = Callable[[list[str]], Any]  # (n_texts, d), or None for who gives no vectors back


def sentences(count: int) -> list[str]:
    """Different texts of a dozen words."""
    chance = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(5_000)]
    return [f"{' '.join(chance.choices(vocabulary, k=WORDS))} {number}" for number in range(count)]


def measured(name: str, embed: Embed, texts: list[str], expected: Vectors) -> list[dict[str, Any]]:
    """Texts a second in each pass; the vectors are compared outside of the time."""
    rows: list[dict[str, Any]] = []
    for which in PASSES:
        began = time.perf_counter()
        found = embed(texts)
        seconds = time.perf_counter() - began
        if found is not None and not np.array_equal(np.asarray(found, dtype=np.float32), expected):
            raise AssertionError(f"{name} gave other vectors than the server, {which}")
        row = {"cache": name, "pass": which, "texts_per_second": round(len(texts) / seconds), "seconds": seconds}
        rows.append({**row, "vectors": "none" if found is None else "all equal"})
    return rows


def ours(database_url: str, url: str, texts: list[str], expected: Vectors) -> list[dict[str, Any]]:
    """This system, through its Python API; everything is recorded."""
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
    with tempfile.TemporaryDirectory() as home:
        os.environ["STUDY_HOME"] = home
        with sq.open(database_url=database_url) as study:
            return measured(
                "study", lambda asked: study.embed(asked, provider="openai", model="bench").vectors, texts, expected
            )


class _Client:
    """A plain client, which asks for base64 as ours does."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.Client(base_url=url, timeout=60)

    def batch(self, texts: list[str]) -> list[list[float]]:
        import base64

        body = {"model": "bench", "input": texts, "encoding_format": "base64"}
        data = self._client.post("/embeddings", json=body).json()["data"]
        return [np.frombuffer(base64.b64decode(each["embedding"]), dtype="<f4").tolist() for each in data]


def langchain_caches(url: str, folder: Path) -> Iterator[tuple[str, Embed | str]]:
    """CacheBackedEmbeddings on files and on SQL; instead of one that is not installed, why."""
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_classic.storage import LocalFileStore
        from langchain_core.embeddings import Embeddings
    except ImportError as error:
        yield "langchain, files", f"not installed: {error}"
        return
    client = _Client(url)

    class Served(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return client.batch(texts)

        def embed_query(self, text: str) -> list[float]:
            return client.batch([text])[0]

    def cached_in(store: Any) -> Embed:
        cache = CacheBackedEmbeddings.from_bytes_store(
            Served(), store, namespace="bench", batch_size=TEXTS_PER_REQUEST, key_encoder="sha256"
        )
        return cache.embed_documents

    yield "langchain, files", cached_in(LocalFileStore(folder / "langchain"))
    try:
        from langchain_community.storage import SQLStore

        store = SQLStore(namespace="bench", db_url=f"sqlite:///{folder / 'langchain.db'}")
        store.create_schema()
    except ImportError as error:
        yield "langchain, sql", f"not installed: {str(error).splitlines()[0]}"
        return
    embed = cached_in(store)

    def in_parts(texts: list[str]) -> list[list[float]]:
        # One question about everything has more variables than SQLite takes.
        return [vector for at in range(0, len(texts), 10_000) for vector in embed(texts[at : at + 10_000])]

    yield "langchain, sql", in_parts


def llm_cache(url: str, folder: Path) -> tuple[str, Embed | str]:
    """What `llm embed-multi` calls: it skips what its collection has, and gives no vectors back."""
    try:
        import llm
        import sqlite_utils
    except ImportError as error:
        return "llm embed-multi", f"not installed: {error}"
    client = _Client(url)

    class Served(llm.EmbeddingModel):  # type: ignore[misc]
        model_id = "bench"
        batch_size = TEXTS_PER_REQUEST

        def embed_batch(self, items: Any) -> Iterator[list[float]]:
            return iter(client.batch(list(items)))

    database = sqlite_utils.Database(folder / "llm.db")
    collection = llm.Collection("bench", database, model=Served())

    def embed(texts: list[str]) -> None:
        collection.embed_multi(((str(number), text) for number, text in enumerate(texts)), batch_size=100)

    return "llm embed-multi", embed


def main() -> None:
    """Measure everything in one run and show it."""
    parser = options(__doc__, seconds=0)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--no-peers", action="store_true", help="leave the other caches out")
    asked = parser.parse_args()
    texts = sentences(asked.texts)
    expected = vectors_of(texts, asked.dimensions)
    rows: list[dict[str, Any]] = []
    with running(asked.dimensions) as url, tempfile.TemporaryDirectory() as name:
        with server(asked.database_url) as (database_url, machine):
            rows += ours(database_url, url, texts, expected)
        folder = Path(name)
        peers = [] if asked.no_peers else [*langchain_caches(url, folder), llm_cache(url, folder)]
        for peer, embed in peers:
            if isinstance(embed, str):
                rows.append({"cache": peer, "pass": embed})
            else:
                rows += measured(peer, embed, texts, expected)
    show(machine, {"embeddings": rows, "targets": _targets(rows)}, as_json=asked.json)


def _targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was reached, the slower of the two warm passes counting."""
    warm: dict[str, int] = {}
    for row in rows:
        if str(row["pass"]).startswith("warm"):
            warm[row["cache"]] = min(warm.get(row["cache"], row["texts_per_second"]), row["texts_per_second"])
    our_warm = warm.pop("study")
    found = [{"target": "warm texts/s", "wanted": TARGET_WARM_TEXTS_PER_SECOND, "reached": our_warm}]
    if warm:
        best = max(warm, key=lambda name: warm[name])
        times = round(our_warm / warm[best], 1)
        found.append({"target": f"times {best}", "wanted": TARGET_TIMES_THE_BEST_PEER, "reached": times})
    return found


if __name__ == "__main__":
    main()
