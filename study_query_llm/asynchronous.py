"""A study for code that runs in an event loop."""

import builtins
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast
from uuid import UUID

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from application.ask_model import Answer
from application.batches import Outcome, batch_of
from application.embed_texts import Embedded, TextsToEmbed
from application.export_embeddings import Exported
from application.find_similar import SimilarTo
from application.group_calls import GroupPlace, group_place
from application.import_dataset import Dataset
from application.keep_file import FileOfGroup
from application.providers import Provider
from application.stream_answer import AnswerStream
from application.validate_deployments import Validated
from domain.datasets import sampling_of
from domain.deployments import ProbedOperation
from domain.errors import Conflict
from domain.sweeps import SweepConfig
from infrastructure.settings import read_settings
from infrastructure.table_files import read_table, table_of_frame
from interfaces.as_of import AsOf
from interfaces.composition import open_study
from interfaces.study import Json
from interfaces.study import Study as Wired
from interfaces.study.groups import group_id_in
from interfaces.study.vectors import filter_of
from study_query_llm.artifacts import AsyncArtifact, file_of
from study_query_llm.conversation import AsyncConversation, ConversationOptions, conversation_of
from study_query_llm.groups import AsyncGroup
from study_query_llm.questions import AskOptions, question_of, question_of_mapping
from study_query_llm.results import Batch, Rows, Sweep, thing_asked_about

if TYPE_CHECKING:
    pass


class AsyncStudy:
    """An open study, for code that runs in an event loop."""

    def __init__(self, wired: Wired) -> None:
        self._wired = wired

    async def ask(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> Answer:
        """Ask a model; the answer is durable before it is returned. Raises Rejected, ProviderFailed, Unavailable.

        share: wait for the same request that is under way, instead of calling once more
        cache: take an answer that the same request got within this time, seconds or "1h"; needs temperature 0 or a seed
        template, fields: what the prompt is put into, with {user_input} and {name} of each field
        preprocess: steps such as "control", "whitespace", "pii:US", "truncate:500t"; what they change is recorded
        """
        return await self._wired.asking.ask(question_of(prompt, options), self._wired.context())

    async def samples(self, prompt: str | None = None, n: int = 2, **options: Unpack[AskOptions]) -> list[Outcome]:
        """Ask for n answers to one question; each is a call, and they form a group of type batch.

        One that failed stands in its place. Raises Rejected, Unavailable, and ProviderFailed when all of them failed.
        """
        question = structs.replace(question_of(prompt, options), samples=n)
        return await self._wired.asking.samples(question, self._wired.context())

    async def ask_batch(
        self,
        questions: "Iterable[str | Mapping[str, Any]]",
        *,
        in_flight: int = 16,
        again: bool = False,
        progress: Callable[[int, int], None] | None = None,
        **options: Unpack[AskOptions],
    ) -> Batch:
        """Ask many questions, in order; what this batch was answered before is given again and not paid for.

        questions: prompts, or mappings that hold a prompt or messages and options of their own
        group: "batch/NAME" names the batch, which else goes by its requests; a group of another type is joined as well
        again: ask also what was answered before
        progress: is called with how many are done, and of how many
        Failures stand in their places. Raises Rejected for what is no batch, and Unavailable.
        """
        group = group_place(options.pop("group", None))
        asked = tuple(
            question_of(each, options) if isinstance(each, str) else question_of_mapping(each, options)
            for each in questions
        )
        batch = batch_of(asked, group, in_flight=in_flight, again=again)
        return Batch(await self._wired.asking.batch(batch, self._wired.context(), progress=progress))

    def stream(self, prompt: str | None = None, **options: Unpack[AskOptions]) -> AnswerStream[str, Answer]:
        """Ask a model, and get the answer's text while it comes: `async for text in study.stream(…)`.

        At the end of the pieces the answer is durable and is the stream's `answer`. Whoever leaves before that cancels
        the call; what came is recorded.
        """
        return self._wired.asking.stream(question_of(prompt, options), self._wired.context())

    async def conversation(
        self,
        conversation_id: UUID | str | None = None,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Unpack[ConversationOptions],
    ) -> AsyncConversation:
        """Begin a conversation, or go on with the one that has this id. Raises NotFound, Rejected.

        token_budget: the most tokens of messages to send; the oldest turns are left out, and each turn says which
        """
        return await conversation_of(self._wired, conversation_id, title=title, metadata=metadata, options=options)

    async def conversations(self, *, status: str | None = None, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Conversations, newest first, as of a time or position; status is open or closed."""
        return Rows((await self._wired.conversations.list(status=status, as_of=as_of, limit=limit))["items"])

    async def embed(
        self,
        texts: Iterable[str],
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Embedded:
        """Embed texts, paying only for those not embedded before; `.vectors` is (n, d) float32 in their order.

        group: "TYPE/NAME" of the group that gets the calls, such as "embedding_batch/reviews"
        metadata: is kept with each call and with the group, such as {"seed": 7}
        """
        wanted = TextsToEmbed(
            texts=texts if isinstance(texts, str) else tuple(texts),  # type: ignore[arg-type]  # which is told
            provider=provider,
            model=model,
            dimensions=dimensions,
            group=group_place(group),
            metadata=dict(metadata or {}),
        )
        return await self._wired.embeddings.of_texts(wanted, self._wired.context())

    async def validate_deployments(
        self,
        provider: str | None,
        names: Iterable[str],
        *,
        operation: ProbedOperation = "embeddings",
        again: bool = False,
    ) -> list[Validated]:
        """Which of a provider's deployments (or models) there are: each is asked once, and the answer remembered."""
        return await self._wired.providers.validate(
            provider, list(names), self._wired.context(), operation=operation, again=again
        )

    async def filter_valid_deployments(self, provider: str | None, names: Iterable[str]) -> list[str]:
        """These deployments for embeddings, but for those that the provider says it has not."""
        return await self._wired.providers.valid(provider, list(names), self._wired.context())

    async def similar(
        self,
        to: "str | Sequence[float] | NDArray[np.float32]",
        *,
        limit: int = 10,
        as_of: AsOf | None = None,
        **filters: Any,
    ) -> Rows:
        """The embedded texts most similar to a text or a vector, the most similar first, each distinct text once.

        filters: provider, model, dimensions, group ("TYPE/NAME"), since, until; a model where there are several
        """
        given: dict[str, Any] = {"text": to} if isinstance(to, str) else {"vector": np.asarray(to).tolist()}
        asked = SimilarTo(**given, wanted=filter_of(**filters), limit=limit)
        return Rows((await self._wired.vectors.similar(asked, self._wired.context(), as_of=as_of))["items"])

    async def vectors(
        self, dataset: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """(n_texts, d) float32 of an embedded dataset, in the order of its texts. Raises NotFound; embeds nothing."""
        return await self._wired.vectors.of_dataset(dataset, provider=provider, model=model, dimensions=dimensions)

    async def export_embeddings(
        self, out: str | Path, *, file_format: str = "parquet", as_of: AsOf | None = None, **filters: Any
    ) -> Exported:
        """Write the vectors of one model to a file, in bounded memory: parquet, npy, jsonl or csv.

        filters: as those of `similar`
        """
        return await self._wired.vectors.export(Path(out), file_format, filter_of(**filters), as_of=as_of)

    async def import_vectors(
        self,
        vectors: NDArray[np.float32],
        *,
        texts: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        source: str = "",
    ) -> Json:
        """Record vectors made elsewhere, (n, d), and the texts that they are of; `source` says where they are from."""
        return await self._wired.vectors.add(
            np.asarray(vectors),
            self._wired.context(),
            texts=None if texts is None else tuple(texts),
            labels=None if labels is None else tuple(labels),
            source_name=source,
        )

    async def import_dataset(
        self,
        data: Any,
        *,
        name: str,
        text_column: str = "text",
        label_column: str | None = None,
        encoding: str | None = None,
    ) -> Dataset:
        """Import a CSV, TSV, JSON Lines, Parquet or plain text file, or a data frame, under a name.

        data: a path, a pandas or polars data frame, an Arrow table, or a list of rows
        """
        is_file = isinstance(data, str | PathLike)
        return await self._wired.datasets.add(
            read_table(Path(data), encoding=encoding) if is_file else table_of_frame(data),
            self._wired.context(),
            name=name,
            text_column=text_column,
            label_column=label_column,
            source_name=Path(data).name if is_file else "",
        )

    async def sample_dataset(
        self,
        parent: str,
        *,
        name: str,
        rows: int | None = None,
        seed: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Draw a sample from the dataset of this name: a dataset that knows its parent, rows in their order.

        where: only rows whose columns hold these values. rows: of those, so many by chance.
        """
        sampling = sampling_of(rows, seed, where or {})
        return await self._wired.datasets.sample(parent, sampling, self._wired.context(), name=name)

    async def group(
        self,
        group_type: str,
        name: str | None = None,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncGroup:
        """The group with this type and name, also written "TYPE/NAME"; it is created if it isn't there.

        A description or metadata that is given holds from now on; other keys of the metadata stay. Raises Rejected.
        """
        place = (
            cast("GroupPlace", group_place(group_type))
            if name is None
            else GroupPlace(group_type=group_type, name=name)
        )
        context, changes = self._wired.context(), None if metadata is None else dict(metadata)
        try:
            await self._wired.groups.create(
                place.group_type, place.name, context, description=description or "", metadata=changes
            )
        except Conflict:
            if description is not None or changes is not None:
                await self._wired.groups.describe(place.group_id, context, description=description, metadata=changes)
        return AsyncGroup(self._wired, place.group_id, place.group_type, place.name)

    async def groups(self, *, group_type: str | None = None, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Groups, newest first, of one type or of all, as of a time or position."""
        return Rows((await self._wired.groups.list(group_type=group_type, as_of=as_of, limit=limit))["items"])

    async def artifact(
        self,
        value: Any,
        *,
        group: "AsyncGroup | UUID | str",
        artifact_type: str,
        step: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncArtifact:
        """Keep a file, or a value as a file, as {run}/{step}/{type}.{ext}. Raises NotFound, Rejected.

        value: a path; an array (NPY), a data frame (Parquet), or what JSON can hold
        """
        file, extension = file_of(value)
        with file:
            wanted = FileOfGroup(
                file=file,
                extension=extension,
                group_id=group.group_id if isinstance(group, AsyncGroup) else group_id_in(group),
                artifact_type=artifact_type,
                step=step,
                metadata=dict(metadata or {}),
            )
            return AsyncArtifact(self._wired, await self._wired.artifacts.keep(wanted, self._wired.context()))

    async def find_artifact(self, artifact: UUID | str, *, as_of: AsOf | None = None) -> AsyncArtifact:
        """An artifact by its id, or the newest of a name, {run}/{step}/{type}.{ext}. Raises NotFound, Rejected."""
        return AsyncArtifact(self._wired, await self._wired.artifacts.get(artifact, as_of=as_of))

    async def artifacts(self, **filters: Any) -> Rows:
        """Artifacts, newest first; filters are group, artifact_type, as_of and limit."""
        return Rows((await self._wired.artifacts.list(**filters))["items"])

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
            sweep_id = await self._wired.sweeps.of_dataset(data, context, config=config, force=force)
        elif isinstance(data, Embedded):
            sweep_id = await self._wired.sweeps.of_embedded(
                data, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        else:
            vectors = np.ascontiguousarray(data, dtype=np.float32)
            sweep_id = await self._wired.sweeps.of_vectors(
                vectors, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        return await self.find_sweep(sweep_id)

    async def find_sweep(self, sweep_id: UUID | str) -> Sweep:
        """A finished sweep by its id. Raises NotFound, Rejected."""
        return Sweep(await self._wired.sweeps.get(sweep_id), await self._wired.sweeps.labels(sweep_id))

    async def report(self, sweep_id: UUID | str, out: str | Path) -> Path:
        """Write a finished sweep's report, a page of HTML that needs nothing but a browser."""
        from interfaces.report import render

        path = Path(out)
        path.write_text(render(await self._wired.sweeps.report(sweep_id)), encoding="utf-8")  # noqa: ASYNC240 - one short write
        return path

    async def calls(self, **filters: Any) -> Rows:
        """Calls, newest first; filters are those of `study calls` (provider, status, since, as_of, limit …)."""
        return Rows((await self._wired.calls.list(**filters))["items"])

    async def call(self, call_id: UUID | str, *, as_of: AsOf | None = None) -> Json:
        """One call with its request, answer and attempts, as of a time or position. Raises NotFound."""
        return await self._wired.calls.get(call_id, as_of=as_of)

    async def datasets(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Datasets, newest first, as of a time or position."""
        return Rows((await self._wired.datasets.list(as_of=as_of, limit=limit))["items"])

    async def sweeps(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Sweeps with their steps and clusters, finished or not, newest first, as of a time or position."""
        return Rows((await self._wired.sweeps.list(as_of=as_of, limit=limit))["items"])

    async def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """Every event of one thing, in order. Raises NotFound."""
        return Rows((await self._wired.history.of(kind, entity_id))["items"])

    async def provenance(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Json:
        """What a thing came from, down to the provider's bytes; or what was made of it; or both.

        thing: a sweep, an answer, a dataset, or its kind and id as "cluster/SWEEP_ID/0" or ("model", "openai/gpt-4o")
        bounds: depth, few, verify, as_of; see `study provenance --help`
        Returns {root, nodes: [{kind, id, label, facts, links …}], edges: [{relation, first, second}], complete}.
        """
        bounds.setdefault("at_least", thing.position if isinstance(thing, Answer) else None)
        return await self._wired.provenance.of(*thing_asked_about(thing), direction=direction, **bounds)

    async def prov_json(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Json:
        """The same walk as W3C PROV-JSON."""
        bounds.setdefault("at_least", thing.position if isinstance(thing, Answer) else None)
        return await self._wired.provenance.prov_json(*thing_asked_about(thing), direction=direction, **bounds)

    async def request_hash(
        self, text: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> str:
        """What a text is embedded under: ask for the provenance of ("text", this). Nothing is asked of the provider."""
        wanted = TextsToEmbed(texts=(text,), provider=provider, model=model, dimensions=dimensions)
        return self._wired.embeddings.request_hashes(wanted)[0]

    async def bytes(self, call_id: UUID | str, part: str = "response", *, version: int | None = None) -> builtins.bytes:
        """The exact bytes of a `request`, `response` or `completion`, their hash checked. Raises NotFound."""
        return (await self._wired.bodies.get(call_id, part, version=version))[1]

    async def compare(self, first: "Sweep | UUID | str", second: "Sweep | UUID | str") -> Json:
        """What differed between two sweeps, what was equal, and how far their labels agree."""
        one, other = (each.sweep_id if isinstance(each, Sweep) else each for each in (first, second))
        return await self._wired.sweeps.compare(one, other)

    async def events(self, *, limit: int = 1000, **filters: Any) -> Rows:
        """Events in order; filters are those of `study events` (after, kind, event, entity, actor, since, as_of …)."""
        found = Rows()
        while True:
            page = await self._wired.audit.events(limit=min(limit - len(found), 1000), **filters)
            found += page["items"]
            if page["next_cursor"] is None or len(found) >= limit:
                return found
            filters["cursor"] = page["next_cursor"]

    async def unanswered(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Calls that were never answered: under way, in doubt, or cancelled, newest first."""
        return Rows((await self._wired.audit.unanswered(as_of=as_of, limit=limit))["items"])


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
