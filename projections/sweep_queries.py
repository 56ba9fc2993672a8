"""Questions about sweeps, as they stood at a position."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from application.recover_sweeps import RunningSweep
from domain.errors import NotFound
from domain.sweeps import LEFT_TO_SERVERS
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, last_counted, page_of
from projections.reading import Reader, Row, in_json

STARTED = """
    SELECT s.sweep_id, s.method, s.dataset_id, s.dataset_name,
        CASE WHEN s.finished_position <= %(position)s THEN s.chosen_k END AS chosen_k,
        CASE WHEN s.finished_position <= %(position)s THEN s.chosen_by END AS chosen_by,
        CASE WHEN s.finished_position <= %(position)s THEN s.explanation END AS explanation,
        CASE WHEN s.finished_position <= %(position)s THEN s.clusters END AS clusters,
        CASE WHEN s.finished_position <= %(position)s THEN s.artifact_ids END AS artifact_ids,
        CASE WHEN s.finished_position <= %(position)s THEN s.duration_s END AS duration_s,
        CASE WHEN s.finished_position <= %(position)s THEN s.timings_s END AS timings_s,
        CASE WHEN s.finished_position <= %(position)s THEN s.finished_at END AS finished_at,
        s.started_at, s.gather_duration_s, s.fingerprint, s.config, s.source, s.run_group_id, s.software, s.metadata,
        s.actor, s.started_position AS position
    FROM projections.sweeps s WHERE s.started_position <= %(position)s
"""

# A sweep that was asked for, by the first who did, until it starts.
WAITING = """
    SELECT DISTINCT ON (r.sweep_id) r.sweep_id, r.config ->> 'method', r.dataset_id, r.dataset_name, NULL::int,
        NULL::text, NULL::text, NULL::jsonb, NULL::jsonb, NULL::float8, NULL::jsonb, NULL::timestamptz,
        NULL::timestamptz, NULL::float8, r.fingerprint, r.config, NULL::jsonb, NULL::uuid, NULL::jsonb, NULL::jsonb,
        r.actor, r.position
    FROM projections.sweep_requests r
    WHERE r.position <= %(position)s AND NOT EXISTS (
        SELECT FROM projections.sweeps s WHERE s.sweep_id = r.sweep_id AND s.started_position <= %(position)s
    ) ORDER BY r.sweep_id, r.position
"""

SWEEPS = f"""
    SELECT s.*, last.status, last.process, last.reason, asked.requested_at, asked.compute
    FROM ({STARTED} UNION ALL ({WAITING})) AS s
    CROSS JOIN LATERAL (
        SELECT t.status, t.process, t.reason FROM projections.sweep_turns t
        WHERE t.sweep_id = s.sweep_id AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1
    ) AS last
    LEFT JOIN LATERAL (
        SELECT r.requested_at, r.compute FROM projections.sweep_requests r
        WHERE r.sweep_id = s.sweep_id AND r.position <= %(position)s ORDER BY r.position DESC LIMIT 1
    ) AS asked ON true
"""  # noqa: S608 - our own words

LAST_TURNS = """
    SELECT DISTINCT ON (t.sweep_id) t.sweep_id, t.status, t.process FROM projections.sweep_turns t
    ORDER BY t.sweep_id, t.position DESC
"""

STEPS = """
    SELECT DISTINCT ON (sweep_id, k) sweep_id, k, objective, iterations, converged, empty_clusters, silhouette,
        stability_ari_mean, stability_ari_std, dispersion, coverage, acc, nmi, ari, homogeneity, completeness,
        v_measure, silhouette_euclidean, calinski_harabasz, davies_bouldin, noise, gap, gap_s, log_w, log_w_expected,
        prediction_strength, prediction_strength_std, bic, labels_sha256, centroids_sha256,
        best_restart, step_group_id, artifact_ids, duration_s, finished_at
    FROM projections.sweep_steps
    WHERE sweep_id = ANY (%(sweep_ids)s) AND position <= %(position)s ORDER BY sweep_id, k, position DESC
"""


ROUNDS = """
    SELECT DISTINCT ON (k, round) k, round, objective, iterations, converged, changed_rows, summaries, fell_back,
        labels_sha256, centroids_sha256, summaries_group_id, embedding_group_id, artifact_ids, duration_s, finished_at
    FROM projections.sweep_rounds
    WHERE sweep_id = %(sweep_id)s AND position <= %(position)s ORDER BY k, round, position DESC
"""


class LeftSweep(NamedTuple):
    """A sweep that is to go on by itself, and who asked for it last."""

    sweep_id: UUID
    actor: str


class SweepQueries:
    """Asks the tables of sweeps."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def sweep(self, sweep_id: UUID, *, as_of: int | None = None) -> Row:
        """One sweep with its steps and rounds, by k, and the clusters of the chosen one. Raises NotFound."""
        which = {"sweep_id": sweep_id, "position": last_counted(as_of)}
        found = await self._reader.rows(f"{SWEEPS} WHERE s.sweep_id = %(sweep_id)s", which)
        rounds = await self._reader.rows(ROUNDS, which)
        if not found:
            raise NotFound(
                f"There is no sweep {sweep_id}{at_position(as_of)}; `study sweep list` shows the ones there are"
            )
        return {**(await self._with_steps(found, as_of))[0], "rounds": rounds}

    @in_json
    async def sweeps(self, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Sweeps, newest first, each with its steps and clusters."""
        parameters: dict[str, Any] = {
            "position": last_counted(as_of),
            "before": page.after((LATEST,), as_of, tuple[int])[0],
            "limit": page.rows,
        }
        rows = await self._reader.rows(
            f"{SWEEPS} WHERE s.position < %(before)s ORDER BY s.position DESC LIMIT %(limit)s", parameters
        )
        found = page_of(rows, page.limit, as_of, lambda row: (row["position"],))
        return Page(await self._with_steps(found.items, as_of), found.next_cursor)

    async def running_sweeps(self) -> Sequence[RunningSweep]:
        """Those that a process said it runs, and has not said how they ended."""
        rows = await self._reader.rows(
            f"SELECT sweep_id, process FROM ({LAST_TURNS}) AS last WHERE status = 'running'",  # noqa: S608
            {},
        )
        return [RunningSweep(row["sweep_id"], row["process"]) for row in rows]

    async def left_to_servers(self) -> Sequence[LeftSweep]:
        """Sweeps that were asked for and are to go on by themselves, in the order in which they were asked for."""
        rows = await self._reader.rows(
            f"SELECT sweep_id, actor FROM ({LAST_TURNS}) AS last JOIN ("  # noqa: S608
            "SELECT sweep_id, min(position) AS position, (array_agg(actor ORDER BY position DESC))[1] AS actor "
            "FROM projections.sweep_requests GROUP BY sweep_id"
            ") AS asked USING (sweep_id) WHERE status = ANY (%(statuses)s) ORDER BY asked.position",
            {"statuses": list(LEFT_TO_SERVERS)},
        )
        return [LeftSweep(row["sweep_id"], row["actor"]) for row in rows]

    async def _with_steps(self, sweeps: list[Row], as_of: int | None) -> list[Row]:
        sweep_ids = [sweep["sweep_id"] for sweep in sweeps]
        steps = await self._reader.rows(STEPS, {"sweep_ids": sweep_ids, "position": last_counted(as_of)})
        by_sweep: dict[UUID, list[Row]] = {sweep_id: [] for sweep_id in sweep_ids}
        for step in steps:
            by_sweep[step.pop("sweep_id")].append(step)
        return [
            {**sweep, "clusters": sweep["clusters"] or [], "steps": by_sweep[sweep["sweep_id"]]} for sweep in sweeps
        ]
