"""Searching and importing vectors."""

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from application.find_similar import FindSimilar, SimilarTo
from application.gather_sweep import GatherSweep, Texts
from application.notebook import Context
from application.read_vectors import ReadVectors
from application.stored_vectors import VectorFilter
from domain.groups import group_id_of
from infrastructure.event_store.store import PostgresEventStore
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json
from projections.embedding_cache import EMBEDDING_CACHE
from projections.group_links import GROUP_LINKS
from projections.queries import Queries

GROUPED_VECTORS = (EMBEDDING_CACHE.name, GROUP_LINKS.name)


class Vectors:
    """What was embedded, by what it is near to, and in bulk.

    pgvector: its version, where searching uses it; None where all vectors are looked at
    """

    def __init__(
        self,
        find_similar: FindSimilar,
        read_vectors: ReadVectors,
        gather_sweep: GatherSweep,
        queries: Queries,
        moments: Moments,
        store: PostgresEventStore,
        pgvector: str | None,
    ) -> None:
        self.pgvector = pgvector
        self._find_similar = find_similar
        self._read_vectors = read_vectors
        self._gather_sweep = gather_sweep
        self._queries = queries
        self._moments = moments
        self._store = store

    async def similar(self, asked: SimilarTo, context: Context, moment: Moment = NOW) -> Json:
        """The embedded texts most similar to a text or a vector. Raises Rejected, NotFound, ProviderFailed."""
        position = await self._moments.shown(moment, reads=GROUPED_VECTORS)
        await self._check_group(asked.wanted, position)
        return await self._find_similar(asked, context, as_of=position)

    async def spaces(self, moment: Moment = NOW) -> Json:
        """What there is to compare: provider, model, dimension and the number of texts."""
        found = await self._queries.vectors_in_bulk.spaces(
            as_of=await self._moments.shown(moment, reads=GROUPED_VECTORS)
        )
        return {"items": msgspec.to_builtins(found), "next_cursor": None}

    async def of_dataset(
        self, name: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """(n_texts, d) float32 of a dataset that was embedded; no provider is called. Raises NotFound."""
        await self._moments.wait_until(await asyncio.to_thread(self._store.last_position), EMBEDDING_CACHE.name)
        return await self._read_vectors(name, provider=provider, model=model, dimensions=dimensions)

    async def add(
        self,
        vectors: NDArray[np.float32],
        context: Context,
        *,
        texts: Texts = None,
        labels: Texts = None,
        source_name: str = "",
    ) -> Json:
        """Keep vectors that were made elsewhere, with their texts. The same content again is the same thing."""
        vectors_id, dataset = await self._gather_sweep.keep_vectors(
            vectors, context, texts=texts, labels=labels, source_name=source_name
        )
        await self._moments.all_shown()
        kept = await self._queries.catalogue.vectors(vectors_id)
        return {**kept, "dataset_name": None if dataset is None else dataset.name}

    async def _check_group(self, wanted: VectorFilter, position: int | None) -> None:
        """Raises NotFound for a group that there is not, in which nothing would be found."""
        if wanted.group_id is not None:
            await self._queries.groups.group(wanted.group_id, as_of=position)


def filter_of(
    *,
    provider: str | None = None,
    model: str | None = None,
    dimensions: int | None = None,
    group: str | None = None,
    group_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> VectorFilter:
    """A filter as people write it; `group` is TYPE/NAME."""
    if group is not None:
        group_type, _, name = group.partition("/")
        group_id = group_id_of(group_type, name)
    return VectorFilter(
        provider=provider, model=model, dimension=dimensions, group_id=group_id, since=since, until=until
    )
