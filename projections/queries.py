"""Every question that interfaces ask, answered in plain JSON values."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from application.stored_vectors import VectorFilter
from projections.call_queries import CallFilter, CallQueries
from projections.catalogue_queries import CatalogueQueries
from projections.conversation_queries import ConversationQueries
from projections.embedded_texts import EmbeddedTexts
from projections.group_queries import DEFAULT_DEPTH, Direction, GroupQueries
from projections.paging import Page
from projections.provenance import ProvenanceQueries
from projections.reading import Reader, Row
from projections.similar_texts import SimilarTexts
from projections.sweep_queries import SweepQueries
from projections.vector_blocks import VectorBlocks

Json = dict[str, Any]


class Queries:
    """The read models' queries over one pool. `as_of` is a position; lists are {items, next_cursor}."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, indexed: bool = False) -> None:
        """indexed: whether the optional read models may be there, by which the same answers come faster"""
        reader = Reader(pool)
        self.calls = CallQueries(reader)
        self.groups = GroupQueries(reader)
        self.catalogue = CatalogueQueries(reader)
        self.runs = SweepQueries(reader)
        self.embeddings = EmbeddedTexts(pool)
        self.talks = ConversationQueries(reader)
        self.vectors_in_bulk = VectorBlocks(pool)
        self.similar_texts = SimilarTexts(pool, self.vectors_in_bulk, indexed=indexed)
        self.provenance = ProvenanceQueries(pool)

    async def list_calls(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        modality: str | None = None,
        status: str | None = None,
        group_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """Calls, newest first. Raises Rejected."""
        wanted = CallFilter(
            provider=provider,
            model=model,
            modality=modality,
            status=status,
            group_id=group_id,
            since=since,
            until=until,
            search=search,
        )
        return _list(await self.calls.calls(wanted, as_of=as_of, limit=limit, cursor=cursor))

    async def call(self, call_id: UUID, *, as_of: int | None = None) -> Json:
        """One call with its request, answer and attempts. Raises NotFound."""
        return _plain(await self.calls.call(call_id, as_of=as_of))

    async def unanswered(self, *, as_of: int | None = None, limit: int = 50, cursor: str | None = None) -> Json:
        """Calls that never got an answer, newest first."""
        return _list(await self.calls.unanswered(as_of=as_of, limit=limit, cursor=cursor))

    async def attempts(self, call_id: UUID, *, as_of: int | None = None) -> Json:
        """The attempts of one call, in order. Raises NotFound."""
        return _list(Page(await self.calls.attempts(call_id, as_of=as_of)))

    async def dataset(self, name: str, *, as_of: int | None = None) -> Json:
        """A dataset by name. Raises NotFound."""
        return _plain(await self.catalogue.dataset(name, as_of=as_of))

    async def datasets(self, *, as_of: int | None = None, limit: int = 50, cursor: str | None = None) -> Json:
        """Datasets, newest first."""
        return _list(await self.catalogue.datasets(as_of=as_of, limit=limit, cursor=cursor))

    async def vectors(self, vectors_id: UUID, *, as_of: int | None = None) -> Json:
        """Vectors that were made elsewhere, by the id that a sweep's source names. Raises NotFound."""
        return _plain(await self.catalogue.vectors(vectors_id, as_of=as_of))

    async def artifact(self, id_or_name: UUID | str, *, as_of: int | None = None) -> Json:
        """An artifact by its id, or the newest under a name. Raises NotFound."""
        if isinstance(id_or_name, UUID):
            return _plain(await self.catalogue.artifact(id_or_name, as_of=as_of))
        return _plain(await self.catalogue.artifact_named(id_or_name, as_of=as_of))

    async def artifacts(
        self,
        *,
        group_id: UUID | None = None,
        artifact_type: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """Artifacts, newest first."""
        found = await self.catalogue.artifacts(
            group_id=group_id, artifact_type=artifact_type, as_of=as_of, limit=limit, cursor=cursor
        )
        return _list(found)

    async def sweep(self, sweep_id: UUID, *, as_of: int | None = None) -> Json:
        """A sweep with its steps and clusters. Raises NotFound."""
        return _plain(await self.runs.sweep(sweep_id, as_of=as_of))

    async def sweeps(self, *, as_of: int | None = None, limit: int = 50, cursor: str | None = None) -> Json:
        """Sweeps, newest first."""
        return _list(await self.runs.sweeps(as_of=as_of, limit=limit, cursor=cursor))

    async def similar(
        self, vector: Sequence[float], wanted: VectorFilter, *, limit: int = 10, as_of: int | None = None
    ) -> Json:
        """The texts most similar to a vector, the most similar first. Raises Rejected, NotFound."""
        return _list(Page(await self.similar_texts.similar(vector, wanted, limit=limit, as_of=as_of)))

    async def spaces(self, *, as_of: int | None = None) -> Json:
        """What there is to compare: provider, model, dimension and the number of texts. Never another page."""
        found = await self.vectors_in_bulk.spaces(as_of=as_of)
        return {"items": [msgspec.to_builtins(space) for space in found], "next_cursor": None}

    async def list_groups(
        self,
        *,
        group_type: str | None = None,
        name: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """Groups, newest first."""
        return _list(
            await self.groups.groups(group_type=group_type, name=name, as_of=as_of, limit=limit, cursor=cursor)
        )

    async def group(self, group_id: UUID, *, as_of: int | None = None) -> Json:
        """A group with its number of members. Raises NotFound."""
        return _plain(await self.groups.group(group_id, as_of=as_of))

    async def members(
        self,
        group_id: UUID,
        *,
        role: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """A group's calls, in their order. Raises NotFound."""
        return _list(await self.groups.members(group_id, role=role, as_of=as_of, limit=limit, cursor=cursor))

    async def children(
        self,
        group_id: UUID,
        *,
        link_type: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """The groups that a group links to, by one link type (`step`, `depends_on` …) or by all. Raises NotFound."""
        return _list(await self.groups.children(group_id, link_type=link_type, as_of=as_of, limit=limit, cursor=cursor))

    async def parents(
        self,
        group_id: UUID,
        *,
        link_type: str | None = None,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """The groups that link to a group. Raises NotFound."""
        return _list(await self.groups.parents(group_id, link_type=link_type, as_of=as_of, limit=limit, cursor=cursor))

    async def dependencies(
        self,
        group_id: UUID,
        *,
        direction: Direction = "up",
        link_type: str | None = "depends_on",
        depth: int = DEFAULT_DEPTH,
        as_of: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """What a group depends on, or what depends on it, over many links; see GroupQueries.dependencies."""
        found = await self.groups.dependencies(
            group_id,
            direction=direction,
            link_type=link_type,
            depth=depth,
            as_of=as_of,
            limit=limit,
            cursor=cursor,
        )
        return {**_list(found), "depth": found.depth, "truncated": found.truncated}

    async def conversation(self, conversation_id: UUID, *, as_of: int | None = None) -> Json:
        """A conversation with what was said in it. Raises NotFound."""
        return _plain(await self.talks.conversation(conversation_id, as_of=as_of))

    async def conversations(
        self, *, status: str | None = None, as_of: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Json:
        """Conversations, newest first. Raises Rejected for an unknown status."""
        return _list(await self.talks.conversations(status=status, as_of=as_of, limit=limit, cursor=cursor))


def _plain(row: Row) -> Json:
    plain: Json = msgspec.to_builtins(row)
    return plain


def _list(page: Page[Row]) -> Json:
    return {"items": [_plain(row) for row in page.items], "next_cursor": page.next_cursor}
