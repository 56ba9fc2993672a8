"""A wired study: every use case and every query, as all interfaces call them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from application.ask_model import Answer, AskModel, Question
from application.call_provider import Stopping
from application.embed_texts import Embedded, EmbedTexts, TextsToEmbed
from application.gather_sweep import GatherSweep
from application.import_dataset import Dataset, ImportDataset, Table
from application.keep_artifact import KeepArtifact
from application.notebook import Context, Notebook
from application.recover_calls import RecoverCalls
from application.replay_journal import ReplayJournal
from application.run_sweep import Progress, RunSweep, SweepRequest
from application.stream_answer import AnswerStream, StreamAnswer
from domain.errors import NotFound, Rejected, Unavailable
from domain.events import RecordedEvent
from domain.groups import group_id_of
from domain.sweeps import SweepConfig
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.settings import Settings
from infrastructure.table_files import ColumnarFiles
from interfaces.as_of import AsOf, position_or_moment
from projections.catalogue import CATALOGUE
from projections.embedding_cache import EMBEDDING_CACHE
from projections.follow import Follower
from projections.group_links import GROUP_LINKS
from projections.paging import as_of_in
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.rebuild import rebuild
from projections.shared_calls import SHARED_CALLS
from projections.status import status
from projections.sweeps import SWEEP_RUNS
from projections.verify import VerifyReport, verify

READ_YOUR_WRITES_SECONDS = 5.0
WORTH_A_WORD = 50_000  # events that take seconds to apply
CALLS = (RAW_CALLS.name,)
ANSWERS = (RAW_CALLS.name, SHARED_CALLS.name)
GROUPED_CALLS = (RAW_CALLS.name, GROUP_LINKS.name)
DATASETS = (CATALOGUE.name,)
SWEEPS = (SWEEP_RUNS.name,)
KINDS = ("call", "group", "dataset", "vectors", "sweep", "artifact")

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from interfaces.report import ReportData

Json = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """One open store with everything that can be done on it. Made by `interfaces.composition.open_study`."""

    settings: Settings
    actor: str
    software: dict[str, str]
    notebook: Notebook
    store: PostgresEventStore
    registry: ProviderRegistry
    stopping: Stopping
    follower: Follower
    queries: Queries
    ask_model: AskModel
    stream_answer: StreamAnswer
    embed_texts: EmbedTexts
    datasets_in: ImportDataset
    gather_sweep: GatherSweep
    run_sweep: RunSweep
    keep_artifact: KeepArtifact
    files: ColumnarFiles
    replay_journal: ReplayJournal
    recover_calls: RecoverCalls

    def context(self, actor: str | None = None, correlation_id: UUID | None = None) -> Context:
        """A command's context: on whose behalf it runs, and an id that all its events share."""
        return Context(actor or self.actor, correlation_id or uuid4())

    # Asking and embedding

    async def ask(self, question: Question, context: Context) -> list[Answer]:
        """Ask; one answer a sample. Raises Rejected, ProviderFailed, Unavailable."""
        return await self.ask_model.answers(question, context)

    def stream(self, question: Question, context: Context) -> AnswerStream:
        """Ask, and get the answer's text as it comes. Whoever leaves the stream cancels the call."""
        return self.stream_answer(question, context)

    async def embed(
        self, wanted: TextsToEmbed, context: Context, *, progress: Callable[[int, int], None] | None = None
    ) -> Embedded:
        """Embed texts, paying only for those not embedded before."""
        embedded = await self.embed_texts(wanted, context, progress=progress)
        if embedded.position is not None:
            await self.wait_until(embedded.position, EMBEDDING_CACHE.name)
        return embedded

    def providers(self) -> list[str]:
        """The providers that can be asked with the settings as they are."""
        return self.registry.configured()

    async def models(self, provider: str) -> list[str]:
        """The models or deployments a provider offers."""
        return await self.registry.create(provider).models()

    # Datasets

    async def import_dataset(
        self,
        table: Table,
        context: Context,
        *,
        name: str,
        text_column: str,
        label_column: str | None = None,
        source_name: str = "",
    ) -> Dataset:
        """Bring texts in under a name; the same content again is the same dataset."""
        dataset = await self.datasets_in(
            table, context, name=name, text_column=text_column, label_column=label_column, source_name=source_name
        )
        await self.wait_until(await asyncio.to_thread(self.store.last_position))
        return dataset

    async def dataset(self, name: str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """A dataset by name. Raises NotFound."""
        return await self.queries.dataset(name, as_of=await self.shown(as_of, at_least, reads=DATASETS))

    async def datasets(
        self,
        *,
        as_of: AsOf | None = None,
        at_least: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """The datasets, newest first."""
        position = await self.shown(as_of, at_least, cursor, reads=DATASETS)
        return await self.queries.datasets(as_of=position, limit=limit, cursor=cursor)

    async def embed_dataset(
        self,
        name: str,
        context: Context,
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> Embedded:
        """Embed a dataset's texts; its calls form a group of type embedding_batch."""
        _, embedded = await self.gather_sweep.embedded_dataset(
            name,
            context,
            provider=provider,
            model=model,
            dimensions=dimensions,
            progress=_stage(progress, "embedding"),
        )
        if embedded.position is not None:
            await self.wait_until(embedded.position, EMBEDDING_CACHE.name)
        return embedded

    # Sweeps

    async def sweep_dataset(
        self,
        name: str,
        context: Context,
        *,
        config: SweepConfig,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> UUID:
        """Embed a dataset and sweep it; the same data and configuration find the finished sweep again."""
        request = await self.gather_sweep.from_dataset(
            name,
            config,
            context,
            provider=provider,
            model=model,
            dimensions=dimensions,
            salt=_salt(force),
            progress=_stage(progress, "embedding"),
        )
        return await self._sweep(request, context, progress)

    async def sweep_vectors(
        self,
        vectors: NDArray[np.float32],
        context: Context,
        *,
        config: SweepConfig,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        source_name: str = "",
        force: bool = False,
        progress: Progress | None = None,
    ) -> UUID:
        """Sweep vectors that were made elsewhere, (n_samples, n_features) float32."""
        request = await self.gather_sweep.from_vectors(
            vectors, config, context, texts=texts, labels=labels, source_name=source_name, salt=_salt(force)
        )
        return await self._sweep(request, context, progress)

    async def sweep_embedded(
        self,
        embedded: Embedded,
        context: Context,
        *,
        config: SweepConfig,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        force: bool = False,
        progress: Progress | None = None,
    ) -> UUID:
        """Sweep what `embed` returned."""
        request = await self.gather_sweep.from_embedded(
            embedded, config, context, texts=texts, labels=labels, salt=_salt(force)
        )
        return await self._sweep(request, context, progress)

    async def sweep_labels(self, sweep_id: UUID | str) -> dict[int, NDArray[np.int32]]:
        """The labels of every finished step, by K: (n_samples,) int32. Raises NotFound."""
        state = await self.run_sweep.load(_id(sweep_id))
        if state.started is None:
            raise NotFound(f"There is no sweep {sweep_id}; `study sweep list` shows the ones there are")
        return {k: await self._array(step.artifact_ids["sweep_labels"]) for k, step in sorted(state.steps.items())}

    async def sweep(self, sweep_id: UUID | str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """A sweep with its steps and clusters. Raises NotFound."""
        return await self.queries.sweep(_id(sweep_id), as_of=await self.shown(as_of, at_least, reads=SWEEPS))

    async def sweeps(
        self,
        *,
        as_of: AsOf | None = None,
        at_least: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """The sweeps, newest first."""
        position = await self.shown(as_of, at_least, cursor, reads=SWEEPS)
        return await self.queries.sweeps(as_of=position, limit=limit, cursor=cursor)

    async def report(self, sweep_id: UUID | str) -> "ReportData":
        """A finished sweep with what its report shows. Raises NotFound, Rejected for one that is not finished."""
        from interfaces.report import ReportData, command_of

        state = await self.run_sweep.load(_id(sweep_id))
        if state.started is None:
            raise NotFound(f"There is no sweep {sweep_id}; `study sweep list` shows the ones there are")
        if state.finished is None:
            raise Rejected(f"Sweep {sweep_id} is {state.status}; a report needs a finished one")
        chosen = state.steps[state.finished.chosen_k]
        dataset = await self.gather_sweep.dataset_of(state.started.source)
        return ReportData(
            sweep=await self.sweep(sweep_id),
            labels=await self._array(chosen.artifact_ids["sweep_labels"]),
            scatter=await self._array(state.finished.artifact_ids["scatter"]),
            command=command_of(state.started),
            texts=None if dataset is None else dataset.texts,
            true_labels=None if dataset is None else dataset.labels,
        )

    async def _sweep(self, request: SweepRequest, context: Context, progress: Progress | None) -> UUID:
        sweep_id, _ = await self.run_sweep(request, context, progress=progress)
        await self.wait_until(await asyncio.to_thread(self.store.last_position))
        return sweep_id

    async def _array(self, artifact_id: UUID) -> NDArray[Any]:
        return self.files.from_npy(await self.keep_artifact.content(artifact_id))

    # Calls and history

    async def calls(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        modality: str | None = None,
        status: str | None = None,
        group: str | None = None,
        group_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        as_of: AsOf | None = None,
        at_least: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """Calls, newest first."""
        if group is not None:
            group_type, _, name = group.partition("/")
            group_id = group_id_of(group_type, name)
        return await self.queries.list_calls(
            provider=provider,
            model=model,
            modality=modality,
            status=status,
            group_id=group_id,
            since=since,
            until=until,
            search=search,
            as_of=await self.shown(as_of, at_least, cursor, reads=CALLS if group_id is None else GROUPED_CALLS),
            limit=limit,
            cursor=cursor,
        )

    async def call(self, call_id: UUID | str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """One call with its request, answer and attempts. Raises NotFound."""
        return await self.queries.call(_id(call_id), as_of=await self.shown(as_of, at_least, reads=ANSWERS))

    async def attempts(self, call_id: UUID | str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """The attempts of one call, in order. Raises NotFound."""
        return await self.queries.attempts(_id(call_id), as_of=await self.shown(as_of, at_least, reads=ANSWERS))

    async def history(self, kind: str, entity_id: UUID | str) -> Json:
        """Every event of one thing, in order, with its decoded fact. Raises NotFound."""
        if kind not in KINDS:
            raise Rejected(f"{kind!r} has no history; use one of {', '.join(KINDS)}", fields=("kind",))
        events = await self.store.read_stream(_id(entity_id))
        expected = {"vectors": "vectors."}.get(kind, f"{kind}.")
        if not events or not events[0].fact.stored_name.startswith(expected):
            raise NotFound(f"There is no {kind} {entity_id}")
        return {"items": [_event_json(event) for event in events], "next_cursor": None}

    # The state of the house

    async def shown(
        self,
        as_of: AsOf | None,
        at_least: int | None = None,
        cursor: str | None = None,
        *,
        reads: tuple[str, ...],
    ) -> int | None:
        """The position that a query is to answer as of, None for now, once the read models that it reads show it.

        A cursor goes on at the position where its list began: a time that was still to come then leads further now.
        Raises Rejected, Unavailable when the read models don't get there in time.
        """
        began = None if cursor is None else as_of_in(cursor)
        asked = began if as_of is None else position_or_moment(as_of)
        position = None if asked is None else await self.position_of(asked)
        if began is not None and position is not None and isinstance(asked, datetime):
            position = min(position, began)
        if position is not None or at_least is not None:
            await self.wait_until(max(position or 0, at_least or 0), *reads)
        return position

    async def position_of(self, as_of: AsOf) -> int:
        """The last position at a time, or a position that there is. A time that is still to come means the log's end.

        Raises Rejected for what is neither, and for a position after the end.
        """
        asked = position_or_moment(as_of)
        if isinstance(asked, datetime):
            return await self.store.position_at(asked)
        last = await asyncio.to_thread(self.store.last_position)
        if asked > last:
            raise Rejected(
                f"as_of: {str(asked)[:60]} is after the end of the log, which is at position {last}; "
                "a day is written 2026-03-01",
                fields=("as_of",),
            )
        return asked

    async def wait_until(self, position: int, *reads: str) -> None:
        """Until the read models show a position: the named ones, or all. Raises Unavailable when they don't in time."""
        await self.follower.wait_until(position, READ_YOUR_WRITES_SECONDS, reads)

    async def catch_up(self, *, backfill: bool = True) -> None:
        """Bring every read model to the end of the log; one that fails stops alone, and the log says why.

        backfill: also those that are only being built, which may take minutes on a long log
        """
        behind = max((row["lag_events"] for row in (await self.projection_status())["items"]), default=0)
        if backfill and behind > WORTH_A_WORD:
            log.warning("bringing the read models up to date first", events_behind=behind)
        caught_up = await asyncio.to_thread(self.follower.catch_up, backfill=backfill)
        for failure in caught_up.failures:
            log.warning("a read model has stopped; see `study projections status`", **msgspec.to_builtins(failure))

    async def replay(self) -> int:
        """Append what waits in this process's journal and in those of dead ones; returns how many entries."""
        replayed = await self.replay_journal()
        if replayed.set_aside:
            log.warning("something in a journal can't be appended; see `study doctor`", files=replayed.set_aside)
        return replayed.entries

    async def recover(self) -> int:
        """Mark the calls that dead processes left open, but for what they could still write down."""
        await self.replay()
        marked = await self.recover_calls(replace_actor(self.context(), "recovery"))
        if marked:
            await self.catch_up(backfill=False)
        return marked

    async def projection_status(self) -> Json:
        """Every read model: where it stands, how far behind, and why it stopped if it did."""
        rows = await asyncio.to_thread(status, self.follower)
        return {"items": [msgspec.to_builtins(row) for row in rows], "next_cursor": None}

    async def rebuild(self, name: str | None, *, progress: Callable[[str, int, int], None] | None = None) -> Json:
        """Replay one read model, or all, beside the live ones, and swap. Raises NotFound for an unknown name."""
        await asyncio.to_thread(rebuild, self.follower, name, progress)
        return await self.projection_status()

    async def verify(
        self, name: str | None, *, progress: Callable[[str, int, int], None] | None = None
    ) -> VerifyReport:
        """Replay into fresh tables and compare with the live ones, row by row."""
        return await asyncio.to_thread(verify, self.follower, name, progress)

    async def health(self) -> Json:
        """Whether the store answers, and how far the read models are behind."""
        try:
            last = await asyncio.to_thread(self.store.last_position)
        except Unavailable as error:
            return {"store": str(error), "position": None, "projections": []}
        return {"store": "ok", "position": last, "projections": (await self.projection_status())["items"]}


def replace_actor(context: Context, actor: str) -> Context:
    """The same command on behalf of another actor."""
    return Context(actor, context.correlation_id)


def _id(value: UUID | str) -> UUID:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise NotFound(f"{value[:60]!r} is no id; ids look like 0195512a-7c00-7000-8000-000000000001") from None


def _event_json(event: RecordedEvent) -> Json:
    envelope = event.envelope
    return {
        "position": event.position,
        "version": event.version,
        "event": event.fact.stored_name,
        "occurred_at": envelope.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "actor": envelope.actor,
        "process": envelope.process,
        "correlation_id": str(envelope.correlation_id),
        "causation_id": None if envelope.causation_id is None else str(envelope.causation_id),
        "facts": msgspec.to_builtins(event.fact),
    }


def _salt(force: bool) -> str | None:
    """What makes a sweep another one than the finished one."""
    return str(uuid4()) if force else None


def _stage(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(stage, done, total)
