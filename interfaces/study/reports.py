"""Reports of finished sweeps: gathered from the record, rendered, written."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from numpy.typing import NDArray

from application.gather_sweep import GatherSweep
from application.keep_artifact import KeepArtifact
from application.summarise_texts import GROUP_TYPE
from application.sweep_turns import SweepTurns
from domain.errors import Rejected
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
        from interfaces.report import ReportData, command_of
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
            view=await self._array(artifacts["view"]) if "view" in artifacts else None,
            texts=None if dataset is None else dataset.texts,
            true_labels=None if dataset is None else dataset.labels,
            troubles=(*stops_of(events), *await self._of_calls(state.started, sweep, position)),
        )

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
            wanted, page = CallFilter(group_id=group_id), Paging(LARGEST_PAGE)
            calls = await self._queries.calls.calls(wanted, as_of=position, page=page)
            failed = [call for call in calls["items"] if call["status"] == "failed"]
            told += failed_calls(purpose, failed, more=calls["next_cursor"] is not None)
            told += repeated_attempts(purpose, calls["items"])
        return told

    async def _array(self, artifact_id: UUID) -> NDArray[Any]:
        return self._files.from_npy(await self._keep_artifact.content(artifact_id))


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
