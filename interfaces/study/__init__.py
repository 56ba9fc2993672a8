"""A wired study: every use case and every query, by what they are about, as all interfaces call them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from application.call_provider import Stopping
from application.notebook import Context, Notebook
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.settings import Settings
from interfaces.study.analytics import Analytics
from interfaces.study.artifacts import Artifacts
from interfaces.study.asking import Asking
from interfaces.study.audit import Audit
from interfaces.study.bodies import Bodies
from interfaces.study.calls import Calls
from interfaces.study.conversations import Conversations
from interfaces.study.datasets import Datasets
from interfaces.study.embeddings import Embeddings
from interfaces.study.exports import Exports
from interfaces.study.gateway import Gateway
from interfaces.study.groups import Groups
from interfaces.study.history import History
from interfaces.study.house import House
from interfaces.study.legacy import Legacy
from interfaces.study.live import Live
from interfaces.study.moments import Moments
from interfaces.study.provenance import Provenance
from interfaces.study.providers import Providers
from interfaces.study.reports import Reports
from interfaces.study.summaries import Summaries
from interfaces.study.sweeps import Sweeps
from interfaces.study.tokens import Tokens
from interfaces.study.vectors import Vectors
from interfaces.study.words import Json
from projections.queries import Queries

if TYPE_CHECKING:
    from infrastructure.metrics import Metrics

__all__ = ["Json", "Study"]


@dataclass(frozen=True)
class Study:
    """One open store with everything that can be done on it, a room for each thing that it is about.

    Made by `interfaces.composition.open_study`.
    """

    settings: Settings
    actor: str
    notebook: Notebook
    store: PostgresEventStore
    registry: ProviderRegistry
    stopping: Stopping
    queries: Queries
    moments: Moments
    asking: Asking
    calls: Calls
    embeddings: Embeddings
    datasets: Datasets
    sweeps: Sweeps
    reports: Reports
    providers: Providers
    history: History
    house: House
    conversations: Conversations
    groups: Groups
    artifacts: Artifacts
    vectors: Vectors
    exports: Exports
    legacy: Legacy
    provenance: Provenance
    audit: Audit
    bodies: Bodies
    tokens: Tokens
    gateway: Gateway
    live: Live
    summaries: Summaries
    analytics: Analytics
    metrics: "Metrics | None" = None

    def context(self, actor: str | None = None, correlation_id: UUID | None = None) -> Context:
        """A command's context: on whose behalf it runs, and an id that all its events share."""
        return Context(actor or self.actor, correlation_id or uuid4())
