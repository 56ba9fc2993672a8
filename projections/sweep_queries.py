"""Questions about sweeps, as they stood at a position."""

from typing import Any
from uuid import UUID

from domain.errors import NotFound
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, last_counted, page_of
from projections.reading import Reader, Row, in_json

SWEEPS = """
    SELECT s.sweep_id, last.status, s.method, s.dataset_id, s.dataset_name,
        CASE WHEN s.finished_position <= %(position)s THEN s.chosen_k END AS chosen_k,
        CASE WHEN s.finished_position <= %(position)s THEN s.chosen_by END AS chosen_by,
        CASE WHEN s.finished_position <= %(position)s THEN s.explanation END AS explanation,
        CASE WHEN s.finished_position <= %(position)s THEN s.clusters END AS clusters,
        CASE WHEN s.finished_position <= %(position)s THEN s.artifact_ids END AS artifact_ids,
        CASE WHEN s.finished_position <= %(position)s THEN s.duration_s END AS duration_s,
        CASE WHEN s.finished_position <= %(position)s THEN s.timings_s END AS timings_s,
        CASE WHEN s.finished_position <= %(position)s THEN s.finished_at END AS finished_at,
        s.started_at, s.gather_duration_s, s.fingerprint, s.config, s.source, s.run_group_id, s.software, s.metadata,
        s.actor, last.process, last.reason, s.started_position AS position
    FROM projections.sweeps s
    CROSS JOIN LATERAL (
        SELECT t.status, t.process, t.reason FROM projections.sweep_turns t
        WHERE t.sweep_id = s.sweep_id AND t.position <= %(position)s ORDER BY t.position DESC LIMIT 1
    ) AS last
    WHERE s.started_position <= %(position)s
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


class SweepQueries:
    """Asks the tables of sweeps."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def sweep(self, sweep_id: UUID, *, as_of: int | None = None) -> Row:
        """One sweep with its steps, by k, and the clusters of the chosen one. Raises NotFound."""
        found = await self._reader.rows(
            f"{SWEEPS} AND s.sweep_id = %(sweep_id)s", {"sweep_id": sweep_id, "position": last_counted(as_of)}
        )
        if not found:
            raise NotFound(
                f"There is no sweep {sweep_id}{at_position(as_of)}; `study sweep list` shows the ones there are"
            )
        return (await self._with_steps(found, as_of))[0]

    @in_json
    async def sweeps(self, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Sweeps, newest first, each with its steps and clusters."""
        parameters: dict[str, Any] = {
            "position": last_counted(as_of),
            "before": page.after((LATEST,), as_of, tuple[int])[0],
            "limit": page.rows,
        }
        rows = await self._reader.rows(
            f"{SWEEPS} AND s.started_position < %(before)s ORDER BY s.started_position DESC LIMIT %(limit)s", parameters
        )
        found = page_of(rows, page.limit, as_of, lambda row: (row["position"],))
        return Page(await self._with_steps(found.items, as_of), found.next_cursor)

    async def _with_steps(self, sweeps: list[Row], as_of: int | None) -> list[Row]:
        sweep_ids = [sweep["sweep_id"] for sweep in sweeps]
        steps = await self._reader.rows(STEPS, {"sweep_ids": sweep_ids, "position": last_counted(as_of)})
        by_sweep: dict[UUID, list[Row]] = {sweep_id: [] for sweep_id in sweep_ids}
        for step in steps:
            by_sweep[step.pop("sweep_id")].append(step)
        return [
            {**sweep, "clusters": sweep["clusters"] or [], "steps": by_sweep[sweep["sweep_id"]]} for sweep in sweeps
        ]
