"""Wiring a study: from what lies outside to use cases, and from them to the rooms that all interfaces call."""

import getpass
import os
import random
import secrets
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from application.adopt_answer import AdoptAnswer
from application.ask_batch import AskBatch
from application.ask_for_sweep import AskForSweep
from application.ask_model import AskModel
from application.audit_log import AuditLog
from application.call_provider import CallProvider, Stopping
from application.cancel_sweep import CancelSweep
from application.check_tokens import CheckTokens
from application.continue_conversation import ContinueConversation
from application.embed_texts import EmbedTexts
from application.export_analytics import ExportAnalytics
from application.export_calls import ExportCalls
from application.export_embeddings import ExportEmbeddings
from application.export_events import ExportEvents
from application.find_similar import FindSimilar
from application.follow_log import LogTail
from application.gather_sweep import GatherSweep
from application.group_calls import GroupCalls
from application.import_dataset import ImportDataset
from application.import_legacy_runs import ImportLegacyRuns
from application.issue_tokens import IssueTokens
from application.k_llm_means import KLlmMeans
from application.keep_artifact import KeepArtifact
from application.keep_conversation import KeepConversation
from application.keep_file import KeepFile
from application.keep_sweep import KeepSweep
from application.mend_artifacts import MendArtifacts
from application.name_clusters import NameClusters
from application.notebook import Notebook
from application.ports import ArtifactFiles
from application.read_artifact import ReadArtifact
from application.read_bytes import ReadBytes
from application.read_vectors import ReadVectors
from application.recall_sweep import RecallSweep
from application.recover_calls import RecoverCalls
from application.recover_sweeps import RecoverSweeps
from application.relay_request import RelayRequest
from application.replay_journal import ReplayJournal
from application.resume_sweep import ResumeSweep
from application.reuse_answers import ReuseAnswers
from application.run_sweep import RunSweep
from application.sample_dataset import SampleDataset
from application.send_texts import SendTexts
from application.share_calls import ShareCalls
from application.share_texts import SharedTexts
from application.stream_answer import StreamAnswer
from application.summarise_texts import SummariseTexts
from application.sweep_turns import SweepTurns
from application.text_batches import TextBatches
from application.validate_deployments import ValidateDeployments
from application.validate_legacy_import import ValidateLegacyImport
from infrastructure.answer_journal import AnswerJournal
from infrastructure.artifact_kinds import KnownKinds
from infrastructure.clock import SystemClock, TimeOrderedIds
from infrastructure.compute import ComputePlaces, LocalCompute
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.legacy_runs import LegacyDatabases
from infrastructure.method_plug_ins import InstalledMethods
from infrastructure.price_file import read_price_table
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.row_encoders import StreamedRowEncoders
from infrastructure.settings import Settings
from infrastructure.software import software_versions
from infrastructure.table_files import ColumnarFiles
from infrastructure.token_counting import PublishedEncodings
from infrastructure.vector_files import StreamedVectorEncoders
from interfaces.composition.policies import chat_policy, embed_policy, gateway_policy, probe_policy
from interfaces.event_document import document_of_event
from interfaces.study import Study
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
from interfaces.study.live import Live, LoggedEvent
from interfaces.study.moments import Moments
from interfaces.study.provenance import Provenance
from interfaces.study.providers import Providers
from interfaces.study.reports import Reports
from interfaces.study.summaries import Summaries
from interfaces.study.sweeps import Sweeps
from interfaces.study.tokens import Tokens
from interfaces.study.vectors import Vectors
from projections.answered_requests import AnsweredCalls
from projections.embedded_texts import CachedVectors
from projections.exported_calls import COLUMNS as CALL_COLUMNS
from projections.follow import Follower
from projections.group_links import GROUP_LINKS
from projections.kept_files import KeptByArtifacts
from projections.queries import Queries

if TYPE_CHECKING:
    from infrastructure.metrics import Metrics


@dataclass(frozen=True)
class Outside:
    """What lies outside, open and ready: the store, its followers and readers, providers, files and threads."""

    settings: Settings
    keeper: Keeper
    store: PostgresEventStore
    journal: AnswerJournal
    registry: ProviderRegistry
    follower: Follower
    apart: tuple[Follower, ...]
    pgvector: str | None
    queries: Queries
    compute: LocalCompute
    artifacts: ArtifactFiles
    metrics: "Metrics | None" = None


class Wiring:
    """Every use case that more than one room needs, made once; then the rooms."""

    def __init__(self, outside: Outside) -> None:
        self.outside = outside
        self.queries = outside.queries
        self.stopping = Stopping()
        self.files = ColumnarFiles()
        self.encodings = PublishedEncodings()

    def study(self, actor: str | None) -> Study:
        """All rooms; what is done without saying on whose behalf is done by actor, else the operating system's user."""
        return Study(
            settings=self.outside.settings,
            actor=actor or operating_system_user(),
            notebook=self.notebook,
            store=self.outside.store,
            registry=self.outside.registry,
            stopping=self.stopping,
            queries=self.queries,
            moments=self.moments,
            asking=Asking(self.ask, self.ask_batch, self.stream),
            calls=Calls(self.queries, self.moments),
            embeddings=Embeddings(self.embed, self.gather, self.moments),
            datasets=Datasets(
                self.import_dataset, SampleDataset(self.import_dataset, self.group), self.queries, self.moments
            ),
            sweeps=self.sweeps,
            reports=Reports(SweepTurns(self.notebook), self.gather, self.keep, self.files, self.queries, self.moments),
            providers=Providers(self.outside.registry, self.validate),
            history=History(self.outside.store, self.audit_log),
            house=self.house,
            conversations=self.conversations,
            groups=Groups(self.group, self.queries, self.moments),
            artifacts=self.kept_artifacts,
            vectors=self.vectors,
            exports=self.exports,
            legacy=self.legacy,
            provenance=Provenance(self.queries, self.read_bytes, self.moments),
            audit=Audit(self.audit_log, self.outside.store, self.queries, self.moments, self.notebook.clock),
            bodies=Bodies(self.read_bytes, self.moments),
            tokens=self.tokens,
            gateway=Gateway(self.relay, self.stream),
            live=self.live,
            metrics=self.outside.metrics,
            summaries=Summaries(self.summarise, self.import_dataset),
            analytics=self.analytics,
        )

    @cached_property
    def notebook(self) -> Notebook:
        return Notebook(
            self.outside.store,
            self.outside.journal,
            clock=SystemClock(),
            ids=TimeOrderedIds(),
            process=self.outside.keeper.process,
            **({} if self.outside.metrics is None else {"noticed": self.outside.metrics.happened}),
        )

    @cached_property
    def moments(self) -> Moments:
        return Moments(self.outside.store, self.outside.follower)

    @cached_property
    def group(self) -> GroupCalls:
        return GroupCalls(self.notebook)

    @cached_property
    def keep(self) -> KeepArtifact:
        return KeepArtifact(self.notebook, self.outside.artifacts)

    @cached_property
    def read_bytes(self) -> ReadBytes:
        return ReadBytes(self.outside.store)

    @cached_property
    def audit_log(self) -> AuditLog:
        return AuditLog(self.outside.store, self.queries.groups)

    # Asking

    @cached_property
    def call_provider(self) -> CallProvider:
        return CallProvider(
            self.notebook,
            chance=random.Random(),  # noqa: S311 - jitter is no secret
            places=self.outside.registry.place,
            stopping=self.stopping,
            prices=read_price_table(self.outside.settings.study_prices),
        )

    @cached_property
    def answered(self) -> AnsweredCalls:
        return AnsweredCalls(self.queries.calls, self.outside.follower)

    @cached_property
    def share(self) -> ShareCalls:
        return ShareCalls(self.notebook, self.call_provider)

    @cached_property
    def reuse(self) -> ReuseAnswers:
        return ReuseAnswers(self.notebook, self.answered)

    @cached_property
    def ask(self) -> AskModel:
        return AskModel(
            self.share,
            self.reuse,
            self.outside.registry,
            self.group,
            lambda: chat_policy(self.outside.settings),
            self.encodings,
        )

    @cached_property
    def stream(self) -> StreamAnswer:
        return StreamAnswer(self.ask)

    @cached_property
    def relay(self) -> RelayRequest:
        return RelayRequest(
            self.call_provider,
            self.share,
            self.reuse,
            self.outside.registry,
            self.group,
            self.outside.store,
            self.notebook.ids,
            lambda: gateway_policy(self.outside.settings),
        )

    @cached_property
    def conversations(self) -> Conversations:
        keep = KeepConversation(self.notebook, self.outside.registry)
        adopt = AdoptAnswer(self.outside.store, self.answered)
        converse = ContinueConversation(self.notebook, keep, self.ask, adopt, self.encodings)
        return Conversations(keep, converse, self.stream, self.queries, self.moments)

    @cached_property
    def validate(self) -> ValidateDeployments:
        return ValidateDeployments(
            self.notebook,
            self.call_provider,
            self.outside.registry,
            lambda: probe_policy(self.outside.settings.afresh()),
        )

    # Embedding

    @cached_property
    def cache(self) -> CachedVectors:
        return CachedVectors(self.queries.embeddings, self.outside.follower)

    @cached_property
    def embed(self) -> EmbedTexts:
        shared = SharedTexts(self.notebook, self.outside.store)
        send = SendTexts(
            self.call_provider, shared, self.cache, self.outside.store, self.notebook.ids.new, TextBatches()
        )
        return EmbedTexts(
            self.notebook,
            send,
            self.outside.registry,
            self.cache,
            self.group,
            lambda: embed_policy(self.outside.settings),
            self.validate.check_before_embedding,
            software_versions(),
        )

    @cached_property
    def vectors(self) -> Vectors:
        return Vectors(
            FindSimilar(self.embed, self.queries.vectors_in_bulk, self.queries.similar_texts),
            ReadVectors(self.import_dataset, self.outside.registry, self.cache),
            self.gather,
            self.queries,
            self.moments,
            self.outside.store,
            self.outside.pgvector,
        )

    @cached_property
    def legacy(self) -> Legacy:
        def setting() -> str | None:
            given = self.outside.settings.afresh().legacy_database_url
            return None if given is None else given.get_secret_value()

        return Legacy(
            LegacyDatabases(setting),
            ImportLegacyRuns(self.notebook),
            ValidateLegacyImport(self.queries.imported_calls),
            self.outside.store,
            self.outside.follower,
        )

    @cached_property
    def analytics(self) -> Analytics:
        return Analytics(self.queries, self.moments, self.notebook.clock)

    @cached_property
    def exports(self) -> Exports:
        encoders = StreamedRowEncoders()
        return Exports(
            ExportCalls(self.queries.calls_in_bulk, CALL_COLUMNS, encoders),
            ExportEmbeddings(self.queries.vectors_in_bulk, StreamedVectorEncoders()),
            ExportEvents(self.audit_log, encoders, document_of_event),
            ExportAnalytics(encoders),
            self.analytics,
            self.queries,
            self.moments,
            self.outside.store,
        )

    # Studies

    @cached_property
    def import_dataset(self) -> ImportDataset:
        return ImportDataset(self.notebook, self.group, self.keep, self.files)

    @cached_property
    def gather(self) -> GatherSweep:
        return GatherSweep(self.embed, self.import_dataset, self.group)

    @cached_property
    def ask_batch(self) -> AskBatch:
        return AskBatch(self.notebook, self.ask, self.group, self.answered)

    @cached_property
    def summarise(self) -> SummariseTexts:
        return SummariseTexts(self.ask, self.ask_batch, self.validate.check_before_asking)

    @cached_property
    def sweeps(self) -> Sweeps:
        methods = InstalledMethods()
        keep = KeepSweep(self.group, self.keep, self.files)
        turns = SweepTurns(self.notebook)
        run = RunSweep(
            turns,
            keep,
            NameClusters(self.group, self.summarise),
            KLlmMeans(keep, self.summarise, self.embed, self.notebook.clock),
            ComputePlaces(self.outside.compute),
            software_versions,
            self.stopping,
            methods=methods,
        )
        return Sweeps(
            self.gather,
            run,
            ResumeSweep(run, RecallSweep(self.gather, self.import_dataset, keep, self.cache)),
            CancelSweep(turns),
            AskForSweep(turns, self.import_dataset, self.embed, self.gather, methods),
            self.keep,
            self.files,
            self.queries,
            self.moments,
            methods,
        )

    @cached_property
    def kept_artifacts(self) -> Artifacts:
        return Artifacts(
            KeepFile(self.group, self.keep, KnownKinds()),
            ReadArtifact(self.outside.artifacts),
            MendArtifacts(
                self.outside.artifacts,
                KeptByArtifacts(self.queries.catalogue, self.outside.follower),
                self.notebook.clock,
            ),
            self.queries,
            self.moments,
        )

    # Upkeep

    @cached_property
    def house(self) -> House:
        recover = RecoverCalls(
            self.notebook,
            self.queries.calls,
            self.outside.store,
            after_seconds=self.outside.settings.study_in_doubt_after_s,
        )
        recover_sweeps = RecoverSweeps(
            self.notebook,
            self.queries.sweeps,
            self.outside.store,
            after_seconds=self.outside.settings.study_in_doubt_after_s,
        )
        replay = ReplayJournal(self.outside.store, self.outside.journal)
        return House(
            self.outside.store,
            self.outside.follower,
            self.outside.apart,
            replay,
            recover,
            recover_sweeps,
            self.share,
            self.outside.journal,
            self.stopping,
            ready_lag_seconds=self.outside.settings.study_ready_lag_s,
            metrics=self.outside.metrics,
        )

    @cached_property
    def live(self) -> Live:
        tail = LogTail(
            self.outside.store,
            self.audit_log,
            LoggedEvent,
            lambda position: self.moments.wait_until(position, GROUP_LINKS.name),
        )
        return Live(tail, self.outside.store)

    @cached_property
    def tokens(self) -> Tokens:
        given, clock = self.outside.settings.study_token, self.notebook.clock
        check = CheckTokens(
            self.outside.store, clock, settings_token=None if given is None else given.get_secret_value()
        )
        return Tokens(IssueTokens(self.notebook, secrets.token_bytes), check, self.queries, self.moments, clock)


def operating_system_user() -> str:
    """Who runs this process, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}" if sys.platform != "win32" else "unknown"
