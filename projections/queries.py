"""Every question that interfaces ask, by the read models that answer it."""

from typing import Any

from psycopg_pool import AsyncConnectionPool

from projections.analytics_queries import AnalyticsQueries
from projections.call_queries import CallQueries
from projections.catalogue_queries import CatalogueQueries
from projections.conversation_queries import ConversationQueries
from projections.embedded_texts import EmbeddedTexts
from projections.exported_calls import ExportedCalls
from projections.group_queries import GroupQueries
from projections.imported_calls import ImportedCalls
from projections.provenance import ProvenanceQueries
from projections.reading import Reader
from projections.search_queries import SearchQueries
from projections.series_queries import SeriesQueries
from projections.similar_texts import SimilarTexts
from projections.sweep_queries import SweepQueries
from projections.token_queries import TokenQueries
from projections.vector_blocks import VectorBlocks


class Queries:
    """The read models' queries over one pool. `as_of` is a position."""

    def __init__(self, pool: AsyncConnectionPool[Any], *, indexed: bool = False, substrings: bool = False) -> None:
        """indexed: whether there may be an index of vectors, by which the same answers come faster

        substrings: whether there is a read model of whole texts, for searches by parts of words
        """
        reader = Reader(pool)
        self.calls = CallQueries(reader)
        self.search = SearchQueries(reader, substrings=substrings)
        self.calls_in_bulk = ExportedCalls(pool, substrings=substrings)
        self.imported_calls = ImportedCalls(pool)
        self.groups = GroupQueries(reader)
        self.catalogue = CatalogueQueries(reader)
        self.sweeps = SweepQueries(reader)
        self.embeddings = EmbeddedTexts(pool)
        self.conversations = ConversationQueries(reader)
        self.vectors_in_bulk = VectorBlocks(pool)
        self.similar_texts = SimilarTexts(pool, self.vectors_in_bulk, indexed=indexed)
        self.provenance = ProvenanceQueries(pool)
        self.tokens = TokenQueries(reader)
        self.analytics = AnalyticsQueries(reader)
        self.series = SeriesQueries(reader)
