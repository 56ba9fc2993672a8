"""Questions about datasets, vectors made elsewhere and artifacts, as they stood at a position."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from domain.errors import NotFound
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, last_counted, page_of
from projections.reading import Reader, Row, in_json

# A dataset goes by the names of its groups; the same content under two names is one dataset in two groups.
DATASETS = """
    SELECT g.name, d.dataset_id, g.group_id, d.content_sha256, d.row_count, d.columns, d.text_column, d.label_column,
        d.artifact_id, d.source_name, d.skipped_rows, d.metadata, d.parent_dataset_id, d.sampling, d.imported_at,
        d.actor, g.position
    FROM projections.groups g
    JOIN projections.datasets d ON d.dataset_id::text = g.metadata ->> 'dataset_id'
    WHERE g.group_type = 'dataset' AND greatest(g.position, d.position) <= %(position)s
"""

ARTIFACTS = """
    SELECT a.artifact_id, a.name, a.artifact_type, a.call_id, a.group_id, 'sha256:' || a.sha256 AS uri, a.sha256,
        a.content_type, a.byte_size, a.shape, a.metadata, a.kept_at, a.actor, a.position
    FROM projections.artifacts a WHERE a.position <= %(position)s
"""


class CatalogueQueries:
    """Asks the tables of datasets, vectors and artifacts."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def dataset(self, name: str, *, as_of: int | None = None) -> Row:
        """The dataset that goes by a name. Raises NotFound."""
        row = await self._reader.row(
            f"{DATASETS} AND g.name = %(name)s", {"name": name, "position": last_counted(as_of)}
        )
        if row is None:
            raise NotFound(
                f"There is no dataset {name!r}{at_position(as_of)}; `study dataset list` shows the ones there are"
            )
        return row

    @in_json
    async def datasets(self, *, as_of: int | None = None, page: Paging = FIRST_PAGE) -> Page[Row]:
        """Datasets by their names, newest name first."""
        return await self._page(f"{DATASETS} AND g.position < %(before)s ORDER BY g.position DESC", {}, as_of, page)

    @in_json
    async def vectors(self, vectors_id: UUID, *, as_of: int | None = None) -> Row:
        """One set of vectors that were made elsewhere. Raises NotFound."""
        row = await self._reader.row(
            "SELECT v.vectors_id, v.content_sha256, v.row_count, v.dimension, v.artifact_id, v.source_name, "
            "v.metadata, v.imported_at, v.actor, v.position FROM projections.vectors_imports v "
            "WHERE v.vectors_id = %(vectors_id)s AND v.position <= %(position)s",
            {"vectors_id": vectors_id, "position": last_counted(as_of)},
        )
        if row is None:
            raise NotFound(f"There are no vectors {vectors_id}{at_position(as_of)}")
        return row

    @in_json
    async def artifact(self, id_or_name: UUID | str, *, as_of: int | None = None) -> Row:
        """An artifact by its id, or the newest under a name, {run}/{step}/{type}.{ext}. Raises NotFound."""
        condition = "a.artifact_id = %(wanted)s" if isinstance(id_or_name, UUID) else "a.name = %(wanted)s"
        row = await self._reader.row(
            f"{ARTIFACTS} AND {condition} ORDER BY a.position DESC LIMIT 1",
            {"wanted": id_or_name, "position": last_counted(as_of)},
        )
        if row is None:
            raise NotFound(
                f"There is no artifact {str(id_or_name)[:100]}{at_position(as_of)}; "
                "`study artifact list` shows the ones there are"
            )
        return row

    @in_json
    async def artifacts(
        self,
        *,
        group_id: UUID | None = None,
        artifact_type: str | None = None,
        as_of: int | None = None,
        page: Paging = FIRST_PAGE,
    ) -> Page[Row]:
        """Artifacts, of one group or type or of all, newest first."""
        conditions = ["a.position < %(before)s"]
        if group_id is not None:
            conditions.append("a.group_id = %(group_id)s")
        if artifact_type is not None:
            conditions.append("a.artifact_type = %(artifact_type)s")
        return await self._page(
            f"{ARTIFACTS} AND {' AND '.join(conditions)} ORDER BY a.position DESC",
            {"group_id": group_id, "artifact_type": artifact_type},
            as_of,
            page,
        )

    async def kept_among(self, sha256s: Sequence[str]) -> set[str]:
        """Those of these files that an artifact has."""
        rows = await self._reader.rows(
            "SELECT DISTINCT a.sha256 FROM projections.artifacts a WHERE a.sha256 = ANY(%(wanted)s)",
            {"wanted": list(sha256s)},
        )
        return {row["sha256"] for row in rows}

    async def kept_after(self, position: int, limit: int) -> list[Row]:
        """`position`, `sha256` and `name` of the artifacts that were kept after a position, in order."""
        return await self._reader.rows(
            "SELECT a.position, a.sha256, a.name FROM projections.artifacts a WHERE a.position > %(position)s "
            "ORDER BY a.position LIMIT %(limit)s",
            {"position": position, "limit": limit},
        )

    async def _page(self, sql: str, parameters: dict[str, Any], as_of: int | None, page: Paging) -> Page[Row]:
        before = page.after((LATEST,), as_of, tuple[int])[0]
        paged = {**parameters, "position": last_counted(as_of), "before": before, "limit": page.rows}
        rows = await self._reader.rows(f"{sql} LIMIT %(limit)s", paged)
        return page_of(rows, page.limit, as_of, lambda row: (row["position"],))
