"""Reports of finished sweeps: gathered from the record, rendered, written."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
from numpy.typing import NDArray

from application.gather_sweep import GatherSweep
from application.keep_artifact import KeepArtifact
from application.keep_sweep import STEP_CLUSTERS
from application.summarise_texts import GROUP_TYPE
from application.sweep_turns import SweepTurns
from domain.clustering.keywords import keywords
from domain.errors import NotFound, Rejected
from domain.groups import group_id_of
from domain.sweeps import SweepStarted
from infrastructure.table_files import ColumnarFiles
from interfaces.as_of import NOW, Moment
from interfaces.study.calls import GROUPED_CALLS
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.call_queries import CallFilter
from projections.paging import LARGEST_PAGE, Paging
from projections.queries import Queries
from projections.sweeps import SWEEP_RUNS

if TYPE_CHECKING:
    from interfaces.report import ReportData, ReportFormat


class Reports:
    """What a finished sweep's report shows, and the report itself."""

    def __init__(
        self,
        turns: SweepTurns,
        gather_sweep: GatherSweep,
        keep_artifact: KeepArtifact,
        files: ColumnarFiles,
        queries: Queries,
        moments: Moments,
    ) -> None:
        self._turns = turns
        self._gather_sweep = gather_sweep
        self._keep_artifact = keep_artifact
        self._files = files
        self._queries = queries
        self._moments = moments

    async def data(self, sweep_id: UUID | str, moment: Moment = NOW) -> "ReportData":
        """A finished sweep with what its report shows. Raises NotFound, Rejected for one that is not finished."""
        from interfaces.report import ReportData, command_of, unsaid
        from interfaces.report.troubles import stops_of

        position = await self._moments.shown(moment, reads=(SWEEP_RUNS.name, *GROUPED_CALLS))
        sweep = await self._queries.sweeps.sweep(id_of(sweep_id), as_of=position)
        state = await self._turns.load(id_of(sweep_id))
        if sweep["status"] != "finished" or state.started is None or state.finished is None:
            raise Rejected(
                f"Sweep {sweep_id} is {sweep['status']}; a report needs a finished one", fields=("sweep_id",)
            )
        chosen = state.steps[state.finished.chosen_k]
        artifacts = state.finished.artifact_ids
        dataset = await self._gather_sweep.dataset_of(state.started.source)
        events = await self._turns.notebook.store.read_stream(id_of(sweep_id))
        return ReportData(
            sweep=sweep,
            labels=await self._array(chosen.artifact_ids["sweep_labels"]),
            scatter=await self._array(artifacts["scatter"]),
            command=command_of(state.started),
            unsaid=unsaid(state.started),
            view=await self._array(artifacts["view"]) if "view" in artifacts else None,
            texts=None if dataset is None else dataset.texts,
            true_labels=None if dataset is None else dataset.labels,
            troubles=(*stops_of(events), *await self._of_calls(state.started, sweep, position)),
        )

    async def of_k(self, data: "ReportData", k: int) -> "ReportData":
        """The same for another K: its labels and its clusters, with names where every K's were named.

        Raises NotFound for a K that was not swept.
        """
        step = next((each for each in data.sweep["steps"] if each["k"] == k), None)
        if step is None:
            raise NotFound(
                f"K = {k} was not swept; there are {', '.join(str(each['k']) for each in data.sweep['steps'])}"
            )
        if k == data.sweep["chosen_k"]:
            return data
        labels = await self._array(UUID(step["artifact_ids"]["sweep_labels"]))
        clusters = await self._named(step) or await self._nameless(data, step, labels)
        return replace(data, labels=labels, sweep={**data.sweep, "chosen_k": k, "clusters": clusters})

    async def _named(self, step: Json) -> list[Json]:
        """The clusters of a step with their names; none where only those of the chosen K were named."""
        if STEP_CLUSTERS not in step["artifact_ids"]:
            return []
        content = await self._keep_artifact.content(UUID(step["artifact_ids"][STEP_CLUSTERS]))
        found: list[Json] = msgspec.json.decode(content)
        return found

    async def _nameless(self, data: "ReportData", step: Json, labels: NDArray[Any]) -> list[Json]:
        """The clusters of a step by the texts that are nearest to them and by the words that tell them apart."""
        nearest = await self._array(UUID(step["artifact_ids"]["sweep_representatives"]))
        rows_of = [[row for row in rows if row >= 0] for rows in nearest.tolist()]
        words = None if data.texts is None else await asyncio.to_thread(keywords, data.texts, labels, len(rows_of))
        return [
            {
                "cluster": number,
                "name": "",
                "size": int((labels == number).sum()),
                "representatives": [text_of(data.texts, row) for row in rows],
                "representative_rows": rows,
                "keywords": () if words is None else words[number],
            }
            for number, rows in enumerate(rows_of)
        ]

    async def render(self, sweep_id: UUID | str, kind: "ReportFormat" = "html", moment: Moment = NOW) -> str:
        """The report as HTML or Markdown. Raises NotFound, Rejected."""
        from interfaces.report import report_as

        return await asyncio.to_thread(report_as, kind, await self.data(sweep_id, moment))

    async def write(self, sweep_id: UUID | str, out: Path, moment: Moment = NOW) -> Path:
        """Write the report, whole or not at all; the file's ending says of which kind. Raises NotFound, Rejected."""
        from interfaces.report import format_of, write_report

        format_of(out)
        return await asyncio.to_thread(write_report, await self.data(sweep_id, moment), out)

    async def _of_calls(self, started: SweepStarted, sweep: Json, position: int | None) -> list[tuple[str, str]]:
        """Calls of the sweep that failed, or were answered only when they were repeated."""
        from interfaces.report.troubles import failed_calls, repeated_attempts

        told: list[tuple[str, str]] = []
        for purpose, group_id in _groups_of(started, sweep).items():
            failed = await self._every(CallFilter(group_id=group_id, status="failed"), position)
            answered = await self._every(CallFilter(group_id=group_id, status="success"), position)
            told += [*failed_calls(purpose, failed), *repeated_attempts(purpose, answered)]
        return told

    async def _every(self, wanted: CallFilter, position: int | None) -> list[Json]:
        """All the calls that pass a filter, however many pages they fill."""
        page = await self._queries.calls.calls(wanted, as_of=position, page=Paging(LARGEST_PAGE))
        calls = list(page["items"])
        while page["next_cursor"] is not None:
            following = Paging(LARGEST_PAGE, page["next_cursor"])
            page = await self._queries.calls.calls(wanted, as_of=position, page=following)
            calls += page["items"]
        return calls

    async def _array(self, artifact_id: UUID) -> NDArray[Any]:
        return self._files.from_npy(await self._keep_artifact.content(artifact_id))


def text_of(texts: Sequence[str] | None, row: int) -> str:
    """A row's text, or its number where there are no texts."""
    return f"row {row}" if texts is None else texts[row]


def _groups_of(started: SweepStarted, sweep: Json) -> dict[str, UUID]:
    """The groups whose calls a sweep stands on, by what the calls were for."""
    groups = {"Embedding the texts": started.source.embedding_group_id}
    if started.config.summarise:
        names = {"Naming the clusters": str(sweep["sweep_id"])}
        if started.config.name_every_k:
            names = {f"Naming, K = {k}": f"{sweep['sweep_id']}/k={k}" for k in (step["k"] for step in sweep["steps"])}
        groups |= {purpose: group_id_of(GROUP_TYPE, name) for purpose, name in names.items()}
    for done in sweep["rounds"]:
        where = f"K = {done['k']}, round {done['round']}"
        groups[f"{where}: summaries"] = _id_or_none(done["summaries_group_id"])
        groups[f"{where}: embedding them"] = _id_or_none(done["embedding_group_id"])
    return {purpose: group_id for purpose, group_id in groups.items() if group_id is not None}


def _id_or_none(written: str | None) -> UUID | None:
    return None if written is None else UUID(written)
