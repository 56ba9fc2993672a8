"""Studies for scripts and notebooks: the asynchronous one, and the same from ordinary code."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import UUID

import anyio.from_thread
import numpy as np
from anyio.from_thread import BlockingPortal
from numpy.typing import NDArray

from application.ask_model import Answer, Question
from application.embed_texts import Embedded, TextsToEmbed
from application.group_calls import GroupPlace
from application.import_dataset import Dataset
from application.providers import Provider
from application.stream_answer import AnswerStream
from domain.errors import Rejected
from domain.sweeps import SweepConfig
from infrastructure.settings import read_settings
from infrastructure.table_files import read_table
from interfaces.as_of import AsOf
from interfaces.composition import open_study
from interfaces.duration import seconds_of
from interfaces.study import Json
from interfaces.study import Study as Wired

if TYPE_CHECKING:
    from pandas import DataFrame


class AskOptions(TypedDict, total=False):
    """What a question may say besides its prompt; nothing is sent to the provider that is not given."""

    messages: Sequence[dict[str, Any]]
    system: str | None
    provider: str | None
    model: str | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    group: str | None
    metadata: Mapping[str, Any] | None
    attempts: int | None
    attempt_timeout_seconds: float | None
    call_timeout_seconds: float | None
    share: bool
    cache: str | float | None


class Sweep:
    """A finished sweep: its steps, its clusters, and the labels of any K."""

    def __init__(self, document: Json, labels: Mapping[int, NDArray[np.int32]]) -> None:
        self.document = document
        self._labels = labels

    @property
    def sweep_id(self) -> str:
        """The id, made of the sweep's fingerprint."""
        return str(self.document["sweep_id"])

    @property
    def chosen_k(self) -> int:
        """The number of clusters that the rule `document["chosen_by"]` chose."""
        return int(self.document["chosen_k"])

    def labels(self, k: int | None = None) -> NDArray[np.int32]:
        """(n_samples,) int32, each sample's cluster for K = `k`, or for the chosen K. Raises Rejected."""
        wanted = self.chosen_k if k is None else k
        if wanted not in self._labels:
            raise Rejected(f"K = {wanted} was not swept; there are {', '.join(map(str, self._labels))}", fields=("k",))
        return self._labels[wanted]

    def to_frame(self) -> "DataFrame":
        """One row a K with its metrics."""
        return _frame(self.document["steps"])

    def __repr__(self) -> str:
        return f"<Sweep {self.sweep_id}: K = {self.chosen_k} by {self.document['chosen_by']}>"


class Rows(list[Json]):
    """A list of rows that becomes a data frame."""

    def to_frame(self) -> "DataFrame":
        """The rows as a pandas data frame."""
        return _frame(self)


class AsyncStudy:
    """An open study, for code that runs in an event loop."""

    def __init__(self, wired: Wired) -> None:
        self._wired = wired

    async def ask(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> Answer:
        """Ask a model; the answer is durable before it is returned. Raises Rejected, ProviderFailed, Unavailable.

        share: wait for the same request that is under way, instead of calling once more
        cache: take an answer that the same request got within this time, seconds or "1h"; needs temperature 0 or a seed
        """
        return (await self._wired.ask(_question(prompt, options), self._wired.context()))[0]

    def stream(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> AnswerStream:
        """Ask a model, and get the answer's text while it comes: `async for text in study.stream(…)`.

        At the end of the pieces the answer is durable and is the stream's `answer`. Whoever leaves before that cancels
        the call; what came is recorded.
        """
        return self._wired.stream(_question(prompt, options), self._wired.context())

    async def embed(
        self,
        texts: Iterable[str],
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        group: str | None = None,
    ) -> Embedded:
        """Embed texts, paying only for those not embedded before; `.vectors` is (n, d) float32 in their order."""
        wanted = TextsToEmbed(
            texts=tuple(texts), provider=provider, model=model, dimensions=dimensions, group=_place(group)
        )
        return await self._wired.embed(wanted, self._wired.context())

    async def import_dataset(
        self, file: str | Path, *, name: str, text_column: str = "text", label_column: str | None = None
    ) -> Dataset:
        """Import a CSV, JSON Lines, Parquet or plain text file under a name."""
        path = Path(file)
        return await self._wired.import_dataset(
            read_table(path),
            self._wired.context(),
            name=name,
            text_column=text_column,
            label_column=label_column,
            source_name=path.name,
        )

    async def sweep(
        self,
        data: "Embedded | NDArray[np.float32] | str",
        *,
        texts: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        method: str = "k-means",
        k: Iterable[int] = range(2, 21),
        restarts: int = 10,
        max_iterations: int = 200,
        pca_dim: int | None = 64,
        seed: int = 0,
        coverage_threshold: float = 0.2,
        parameters: Mapping[str, Any] | None = None,
        paraphraser: str | None = None,
        force: bool = False,
    ) -> Sweep:
        """Cluster for every K and choose one. The same data and configuration find the finished sweep again.

        data: what `embed` returned, (n_samples, n_features) vectors made elsewhere, or the name of a dataset
        paraphraser: "provider/model" that names the clusters from their texts
        """
        config = SweepConfig(
            method=method,
            k_values=tuple(k),
            restarts=restarts,
            max_iterations=max_iterations,
            pca_dim=pca_dim,
            seed=seed,
            coverage_threshold=coverage_threshold,
            parameters=dict(parameters or {}),
            summarise=paraphraser,
        )
        context = self._wired.context()
        given_texts = None if texts is None else tuple(texts)
        given_labels = None if labels is None else tuple(labels)
        if isinstance(data, str):
            sweep_id = await self._wired.sweep_dataset(data, context, config=config, force=force)
        elif isinstance(data, Embedded):
            sweep_id = await self._wired.sweep_embedded(
                data, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        else:
            vectors = np.ascontiguousarray(data, dtype=np.float32)
            sweep_id = await self._wired.sweep_vectors(
                vectors, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        return await self.find_sweep(sweep_id)

    async def find_sweep(self, sweep_id: UUID | str) -> Sweep:
        """A finished sweep by its id. Raises NotFound, Rejected."""
        return Sweep(await self._wired.sweep(sweep_id), await self._wired.sweep_labels(sweep_id))

    async def report(self, sweep_id: UUID | str, out: str | Path) -> Path:
        """Write a finished sweep's report, a page of HTML that needs nothing but a browser."""
        from interfaces.report import render

        path = Path(out)
        path.write_text(render(await self._wired.report(sweep_id)), encoding="utf-8")  # noqa: ASYNC240 - one short write
        return path

    async def calls(self, **filters: Any) -> Rows:
        """Calls, newest first; filters are those of `study calls` (provider, status, since, as_of, limit …)."""
        return Rows((await self._wired.calls(**filters))["items"])

    async def call(self, call_id: UUID | str, *, as_of: AsOf | None = None) -> Json:
        """One call with its request, answer and attempts, as of a time or position. Raises NotFound."""
        return await self._wired.call(call_id, as_of=as_of)

    async def datasets(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Datasets, newest first, as of a time or position."""
        return Rows((await self._wired.datasets(as_of=as_of, limit=limit))["items"])

    async def sweeps(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Sweeps with their steps and clusters, finished or not, newest first, as of a time or position."""
        return Rows((await self._wired.sweeps(as_of=as_of, limit=limit))["items"])

    async def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """Every event of one thing, in order. Raises NotFound."""
        return Rows((await self._wired.history(kind, entity_id))["items"])


class TextStream:
    """The pieces of an answer's text as they come; see AsyncStudy.stream."""

    def __init__(self, portal: BlockingPortal, stream: AnswerStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def answer(self) -> Answer:
        """The answer, once the pieces are at their end. Raises what ended the call, or RuntimeError before that."""
        return self._stream.answer

    def __iter__(self) -> Iterator[str]:
        """The pieces; whoever stops before their end cancels the call. Raises Rejected, ProviderFailed, Unavailable."""
        pieces = aiter(self._stream)
        try:
            while (piece := self._portal.call(partial(anext, pieces, None))) is not None:
                yield piece
        finally:
            self.close()

    def __enter__(self) -> "TextStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the call if it is still under way, and wait until that is recorded."""
        self._portal.call(self._stream.aclose)


class Study:
    """An open study, for ordinary code: each method is AsyncStudy's, run in a background loop."""

    def __init__(self, portal: BlockingPortal, study: AsyncStudy) -> None:
        self._portal = portal
        self._study = study

    def ask(self, prompt: str | None = None, **options: Any) -> Answer:
        """See AsyncStudy.ask."""
        return self._portal.call(partial(self._study.ask, prompt, **options))

    def stream(self, prompt: str | None = None, **options: Any) -> TextStream:
        """See AsyncStudy.stream: `for text in study.stream(…)`."""
        return TextStream(self._portal, self._portal.call(partial(self._study.stream, prompt, **options)))

    def embed(self, texts: Iterable[str], **options: Any) -> Embedded:
        """See AsyncStudy.embed."""
        return self._portal.call(partial(self._study.embed, texts, **options))

    def import_dataset(self, file: str | Path, **options: Any) -> Dataset:
        """See AsyncStudy.import_dataset."""
        return self._portal.call(partial(self._study.import_dataset, file, **options))

    def sweep(self, data: "Embedded | NDArray[np.float32] | str", **options: Any) -> Sweep:
        """See AsyncStudy.sweep."""
        return self._portal.call(partial(self._study.sweep, data, **options))

    def find_sweep(self, sweep_id: UUID | str) -> Sweep:
        """See AsyncStudy.find_sweep."""
        return self._portal.call(self._study.find_sweep, sweep_id)

    def report(self, sweep_id: UUID | str, out: str | Path) -> Path:
        """See AsyncStudy.report."""
        return self._portal.call(self._study.report, sweep_id, out)

    def calls(self, **filters: Any) -> Rows:
        """See AsyncStudy.calls."""
        return self._portal.call(partial(self._study.calls, **filters))

    def call(self, call_id: UUID | str, **options: Any) -> Json:
        """See AsyncStudy.call."""
        return self._portal.call(partial(self._study.call, call_id, **options))

    def datasets(self, **options: Any) -> Rows:
        """See AsyncStudy.datasets."""
        return self._portal.call(partial(self._study.datasets, **options))

    def sweeps(self, **options: Any) -> Rows:
        """See AsyncStudy.sweeps."""
        return self._portal.call(partial(self._study.sweeps, **options))

    def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """See AsyncStudy.history."""
        return self._portal.call(self._study.history, kind, entity_id)


@asynccontextmanager
async def open_async(
    *,
    database_url: str | None = None,
    home: str | Path | None = None,
    providers: Mapping[str, Provider] | None = None,
    actor: str | None = None,
) -> AsyncIterator[AsyncStudy]:
    """Open a study in the caller's event loop; settings come from the environment and .env where not given."""
    settings = read_settings(database_url=database_url, study_home=None if home is None else Path(home))
    async with open_study(settings, actor=actor, providers=providers) as wired:
        yield AsyncStudy(wired)


@contextmanager
def open(  # noqa: A001 - `sq.open` reads well
    *,
    database_url: str | None = None,
    home: str | Path | None = None,
    providers: Mapping[str, Provider] | None = None,
    actor: str | None = None,
) -> Iterator[Study]:
    """Open a study for ordinary code: embedded, or on the Postgres of `database_url`."""
    opening = open_async(database_url=database_url, home=home, providers=providers, actor=actor)
    with anyio.from_thread.start_blocking_portal() as portal, portal.wrap_async_context_manager(opening) as study:
        yield Study(portal, study)


def _question(prompt: str | None, options: AskOptions) -> Question:
    given: dict[str, Any] = dict(options)
    if unknown := given.keys() - AskOptions.__annotations__.keys():
        raise TypeError(
            f"There is no option {', '.join(sorted(unknown))}; there are {', '.join(AskOptions.__annotations__)}"
        )
    cache = given.pop("cache", None)
    return Question(
        **{
            **given,
            "prompt": prompt,
            "messages": tuple(given.get("messages") or ()),
            "group": _place(given.get("group")),
            "metadata": dict(given.get("metadata") or {}),
            "cache_seconds": None if cache is None else seconds_of(cache, "cache"),
        }
    )


def _place(group: str | None) -> GroupPlace | None:
    if group is None:
        return None
    group_type, slash, name = group.partition("/")
    if not slash:
        raise Rejected(f"A group is written TYPE/NAME, not {group!r}", fields=("group",))
    return GroupPlace(group_type=group_type, name=name)


def _frame(rows: Sequence[Json]) -> "DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows))
