"""Run the rounds of a k-llmmeans step: sample, summarise, embed, go on with k-means; each round is an event.

The rounds start from the best of the k-means restarts, and from it alone, so that a step makes one call a cluster and
round. A step that died goes on with the round that is missing; what that round's calls had answered is not asked again.
A summary that fails leaves its cluster's centroid the mean that it was.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from msgspec import Struct, structs
from numpy.typing import NDArray

from application.compute import Compute
from application.embed_texts import Embedded, EmbedTexts, TextsToEmbed
from application.group_calls import GroupPlace
from application.keep_sweep import KeepSweep, SweepUnderRecord
from application.notebook import Context
from application.paraphrase import PYTHON, ModelSummaries, summariser_of
from application.ports import Clock
from application.summarise_texts import GROUP_TYPE, SHARED_BY_TEXTS, SummariseTexts, Summary, SummaryStatus, fallen_back
from application.sweep_request import SweepRequest, asks_in_rounds
from domain.clustering.clusterings import Clustering, best_restart
from domain.clustering.llm_means import Drawn, draw, go_on_from_rows, go_on_from_summaries, parameters_of
from domain.clustering.step import Prepared, StepResult, fitted, measured
from domain.errors import ProviderFailed, Rejected
from domain.identity import sha256_hex
from domain.sweeps import RoundSummary, SweepRoundFinished

LEAST_COSINE = 0.9  # of two vectors that one model should have given for one text
LONGEST_REASON = 300  # characters, in the event; the call has all of it
TEXT_AT_FAULT = re.compile(r"texts\[(\d+)\]")

log = structlog.get_logger(__name__)


class StepInRounds(Struct, frozen=True):
    """One K of a sweep, on its way. record: makes a finished round durable; told: is called after each round."""

    sweep: SweepUnderRecord
    compute: Compute
    prepared: Prepared  # this and the labels: or what stands for them where it is computed
    labels: Sequence[str] | None
    k: int
    finished: Mapping[int, SweepRoundFinished]
    record: Callable[[SweepRoundFinished], Awaitable[None]]
    told: Callable[[], None]

    def place(self, group_type: str, round_number: int) -> GroupPlace:
        """The group of a round's calls."""
        return GroupPlace(group_type=group_type, name=f"{self.sweep.sweep_id}/k={self.k}/round={round_number}")


class _Said(Struct, frozen=True, kw_only=True):
    """A cluster's summary in a round, as its artifact holds it."""

    cluster: int
    text: str | None
    sampled_rows: tuple[int, ...]
    call_id: UUID | None = None
    row: int | None = None
    fell_back: bool = False
    status: SummaryStatus = "success"
    reason: str | None = None


class _Outcome(Struct, frozen=True):
    """A round's summaries, where k-means went from their vectors, and the groups of the calls."""

    said: list[_Said]
    clustering: Clustering
    summaries_group_id: UUID | None = None
    embedding_group_id: UUID | None = None


class KLlmMeans:
    """Runs steps of k-llmmeans."""

    def __init__(self, keep: KeepSweep, summarise: SummariseTexts, embed_texts: EmbedTexts, clock: Clock) -> None:
        self._keep = keep
        self._summarise = summarise
        self._embed_texts = embed_texts
        self._clock = clock

    async def check(self, request: SweepRequest, context: Context) -> None:
        """Raise Rejected for who can't be asked, before anything is computed or paid for.

        One text is embedded, which costs nothing where it was embedded before, to see that the summaries' vectors will
        be as long as the sweep's. Raises ProviderFailed when that fails.
        """
        if request.config.summarise is not None and request.texts is not None:
            summarise = summariser_of(request.config.summarise, request.paraphraser, self._summarise, context)
            if isinstance(summarise, ModelSummaries):
                await summarise.check()
        if asks_in_rounds(request.config) and request.texts is not None:
            await self._check_embedder(request, context)

    async def _check_embedder(self, request: SweepRequest, context: Context) -> None:
        wanted = TextsToEmbed(texts=(request.texts or ())[:1], **_embedder(request))
        embedded = await self._embed_texts(wanted, context)
        if embedded.vectors.shape[1] != request.vectors.shape[1]:
            raise Rejected(
                f"{embedded.provider}/{embedded.model} gives vectors of {embedded.vectors.shape[1]} dimensions, and "
                f"the sweep's have {request.vectors.shape[1]}: name the model that made them, and its dimensions",
                fields=("embedding", "dimensions"),
            )
        if (alike := _cosine(embedded.vectors[0], request.vectors[0])) < LEAST_COSINE:
            log.warning(
                "the first text's vector is unlike the one that was given: are they the same model's?",
                model=f"{embedded.provider}/{embedded.model}",
                cosine=round(alike, 3),
            )

    async def __call__(self, step: StepInRounds) -> StepResult:
        """Run the rounds that are missing, and measure where they led."""
        config = step.sweep.request.config
        starts = await step.compute.run(fitted, step.prepared, step.k, config)
        number = best_restart(starts)
        current, iterations = starts[number], starts[number].iterations
        await self._keep.step_group(step.sweep, step.k)
        for round_number in range(1, parameters_of(config).rounds + 1):
            done = step.finished.get(round_number)
            if done is None:
                done, current = await self._round(step, round_number, current)
            elif round_number + 1 not in step.finished:
                current = await self._as_kept(done)
            iterations += done.iterations
            step.told()
        final = structs.replace(current, iterations=iterations)
        return await step.compute.run(measured, step.prepared, config, step.labels, starts, number, final)  # type: ignore[no-any-return]

    async def names(self, rounds: Mapping[int, SweepRoundFinished]) -> dict[int, Summary]:
        """What the last round's summaries say of the clusters, by their number."""
        said = await self._keep.document(rounds[max(rounds)].artifact_ids["round_summaries"], tuple[_Said, ...])
        return {
            one.cluster: Summary(
                text=one.text or "",
                call_id=one.call_id,
                fell_back=one.text is None,
                status=one.status,
                reason=one.reason,
            )
            for one in said
        }

    async def _round(
        self, step: StepInRounds, number: int, before: Clustering
    ) -> tuple[SweepRoundFinished, Clustering]:
        began = self._clock.monotonic()
        config = step.sweep.request.config
        drawn = await step.compute.run(draw, step.prepared, before.labels, before.centroids, config, number)
        by_medoid = parameters_of(config).summary == "medoid"
        outcome = await (self._by_medoid if by_medoid else self._by_summary)(step, number, before, drawn)
        await self._keep.generated(step.sweep, step.k, outcome.summaries_group_id, outcome.embedding_group_id)
        after = outcome.clustering
        fact = SweepRoundFinished(
            k=step.k,
            round=number,
            summaries=tuple(map(_recorded, outcome.said)),
            objective=after.objective,
            iterations=after.iterations,
            converged=after.converged,
            changed_rows=int(np.count_nonzero(after.labels != before.labels)),
            labels_sha256=sha256_hex(after.labels.astype("<i4").tobytes()),
            centroids_sha256=sha256_hex(after.centroids.astype("<f4").tobytes()),
            step_group_id=step.sweep.step_place(step.k).group_id,
            summaries_group_id=outcome.summaries_group_id,
            embedding_group_id=outcome.embedding_group_id,
            artifact_ids=await self._keep.round(step.sweep, step.k, number, after, outcome.said),
            duration_s=round(self._clock.monotonic() - began, 6),
        )
        await step.record(fact)
        return fact, after

    async def _by_medoid(self, step: StepInRounds, _number: int, before: Clustering, drawn: Drawn) -> _Outcome:
        """The sampled text nearest to the sample's mean is the summary, and its vector is known."""
        texts, config = step.sweep.request.texts, step.sweep.request.config
        said = [
            _Said(
                cluster=cluster,
                text=None if texts is None else texts[row],
                sampled_rows=tuple(map(int, drawn.samples[cluster])),
                row=row,
            )
            for cluster, row in enumerate(drawn.medoids)
            if row is not None
        ]
        clusters, rows = [one.cluster for one in said], [one.row for one in said]
        after = await step.compute.run(go_on_from_rows, step.prepared, before.centroids, clusters, rows, config)
        return _Outcome(said, after)

    async def _by_summary(self, step: StepInRounds, number: int, before: Clustering, drawn: Drawn) -> _Outcome:
        request, context = step.sweep.request, step.sweep.context
        named, texts = request.config.summarise or "", request.texts or ()
        summarise = summariser_of(named, request.paraphraser, self._summarise, context)
        filled = [cluster for cluster, sample in enumerate(drawn.samples) if len(sample)]
        lists = [tuple(texts[row] for row in drawn.samples[cluster]) for cluster in filled]
        place = step.place(GROUP_TYPE, number)
        summaries = await summarise(lists, template=SHARED_BY_TEXTS, place=place, progress=None)
        into = step.place("embedding_batch", number)
        summaries, vectors = await self._embedded(summaries, request, into, context)
        said = [
            _Said(
                cluster=cluster,
                text=None if summary.fell_back and summary.status != "not_embedded" else summary.text,
                sampled_rows=tuple(map(int, drawn.samples[cluster])),
                call_id=summary.call_id,
                fell_back=summary.fell_back,
                status=summary.status,
                reason=summary.reason,
            )
            for cluster, summary in zip(filled, summaries, strict=True)
        ]
        replaced = [one.cluster for one in said if not one.fell_back]
        after = await step.compute.run(
            go_on_from_summaries, step.prepared, before.centroids, replaced, vectors, request.config
        )
        return _Outcome(
            said, after, None if named.startswith(PYTHON) else place.group_id, into.group_id if replaced else None
        )

    async def _embedded(
        self, summaries: list[Summary], request: SweepRequest, place: GroupPlace, context: Context
    ) -> tuple[list[Summary], NDArray[np.float32]]:
        """The summaries, of which some may fall back now, and the vectors of those that don't, in order."""
        summaries = list(summaries)
        empty = np.empty((0, request.vectors.shape[1]), dtype=np.float32)
        while wanted := [at for at, summary in enumerate(summaries) if not summary.fell_back]:
            texts = tuple(summaries[at].text for at in wanted)
            asked = TextsToEmbed(texts=texts, group=place, **_embedder(request))
            try:
                embedded: Embedded = await self._embed_texts(asked, context)
            except ProviderFailed as failure:
                # Those that got a vector are in the cache by now, and cost nothing the next time round.
                for at in _at_fault(failure, len(wanted)):
                    failed = summaries[wanted[at]]
                    told = fallen_back((failed.text,), "not_embedded", str(failure), failed.call_id)
                    summaries[wanted[at]] = told
                continue
            return summaries, embedded.vectors
        return summaries, empty

    async def _as_kept(self, done: SweepRoundFinished) -> Clustering:
        """Where an earlier process had left the step."""
        labels = await self._keep.array(done.artifact_ids["round_labels"])
        centroids = await self._keep.array(done.artifact_ids["round_centroids"])
        empty = len(centroids) - len(np.unique(labels))
        return Clustering(labels, centroids, done.objective, done.iterations, done.converged, empty)


def _embedder(request: SweepRequest) -> dict[str, Any]:
    """Who embeds summaries: who embedded the texts, or who is named, as for vectors made elsewhere."""
    parameters, source = parameters_of(request.config), request.source
    if parameters.embedding is None:
        return {
            "provider": source.embedding_provider,
            "model": source.embedding_model,
            "dimensions": source.embedding_dimensions,
        }
    provider, _, model = parameters.embedding.partition("/")
    return {"provider": provider, "model": model, "dimensions": parameters.dimensions}


def _at_fault(failure: ProviderFailed, count: int) -> list[int]:
    """The texts that a failure names; all of them, if it names none."""
    named = [int(found[1]) for field in failure.fields if (found := TEXT_AT_FAULT.fullmatch(field))]
    return named or list(range(count))


def _recorded(said: _Said) -> RoundSummary:
    return RoundSummary(
        cluster=said.cluster,
        call_id=said.call_id,
        row=said.row,
        fell_back=said.fell_back,
        status=said.status,
        reason=None if said.reason is None else said.reason[:LONGEST_REASON],
    )


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.dot(one.astype(np.float64), other)) / lengths if lengths else 0.0
