"""The only file that knows every part: settings in, a wired study out."""

import asyncio
import getpass
import os
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import psycopg
import structlog
from msgspec import structs
from psycopg_pool import AsyncConnectionPool

from application.adopt_answer import AdoptAnswer
from application.ask_batch import AskBatch
from application.ask_model import AskModel
from application.audit_log import AuditLog
from application.call_provider import AttemptPolicy, CallProvider, Stopping
from application.continue_conversation import ContinueConversation
from application.embed_texts import EmbedTexts
from application.export_embeddings import ExportEmbeddings
from application.find_similar import FindSimilar
from application.gather_sweep import GatherSweep
from application.group_calls import GroupCalls
from application.import_dataset import ImportDataset
from application.keep_artifact import KeepArtifact
from application.keep_conversation import KeepConversation
from application.keep_file import KeepFile
from application.mend_artifacts import MendArtifacts
from application.notebook import Notebook
from application.ports import ArtifactFiles
from application.providers import Provider
from application.read_artifact import ReadArtifact
from application.read_bytes import ReadBytes
from application.read_vectors import ReadVectors
from application.recover_calls import RecoverCalls
from application.replay_journal import ReplayJournal
from application.reuse_answers import ReuseAnswers
from application.run_sweep import RunSweep
from application.sample_dataset import SampleDataset
from application.send_texts import SendTexts
from application.share_calls import ShareCalls
from application.share_texts import SharedTexts
from application.store_trouble import unavailable
from application.stream_answer import StreamAnswer
from application.summarise_texts import SummariseTexts
from application.text_batches import TextBatches
from application.validate_deployments import ProbePolicy, ValidateDeployments
from domain.errors import StudyError, Unavailable
from infrastructure.answer_journal import JOURNALS, AnswerJournal
from infrastructure.artifact_kinds import KnownKinds
from infrastructure.artifact_urls import artifact_files
from infrastructure.clock import SystemClock, TimeOrderedIds
from infrastructure.compute import LocalCompute
from infrastructure.earlier_artifacts import with_earlier
from infrastructure.event_store.datastore import KEEPALIVES
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.price_file import read_price_table
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.settings import Settings
from infrastructure.software import software_versions
from infrastructure.table_files import ColumnarFiles
from infrastructure.token_counting import PublishedEncodings
from infrastructure.vector_files import StreamedVectorFiles
from interfaces.study import Study
from interfaces.study.artifacts import Artifacts
from interfaces.study.asking import Asking
from interfaces.study.audit import Audit
from interfaces.study.bodies import Bodies
from interfaces.study.calls import Calls
from interfaces.study.conversations import Conversations
from interfaces.study.datasets import Datasets
from interfaces.study.embeddings import Embeddings
from interfaces.study.groups import Groups
from interfaces.study.history import History
from interfaces.study.house import House
from interfaces.study.moments import Moments
from interfaces.study.provenance import Provenance
from interfaces.study.providers import Providers
from interfaces.study.sweeps import Sweeps
from interfaces.study.vectors import Vectors
from projections.answered_requests import AnsweredCalls
from projections.embedded_texts import CachedVectors
from projections.follow import Follower, FollowerThread
from projections.generations import install
from projections.kept_files import KeptByArtifacts
from projections.near_vectors import pgvector_version
from projections.queries import Queries
from projections.read_model import ReadModel
from projections.read_models import READ_MODELS, optional_read_models

if TYPE_CHECKING:
    from infrastructure.embedded_postgres import EmbeddedPostgres

READ_CONNECTIONS = 4
READ_TIMEOUT_SECONDS = 5.0
RECOVERY_SECONDS = 15.0
PROBE_ATTEMPTS = 2
HAVE_DEPLOYMENTS = {"azure"}  # whose models are what somebody deployed, or has deleted since
REPLAY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_study(
    settings: Settings,
    *,
    actor: str | None = None,
    serving: bool = False,
    providers: Mapping[str, Provider] | None = None,
) -> AsyncIterator[Study]:
    """Open the store, follow it, mark what dead processes left, and hand out the wired study.

    serving: keep looking for dead processes for as long as the study is open, and don't wait for read models that are
    only being built. Raises Rejected, Unavailable.
    """
    async with AsyncExitStack() as stack:
        woken = threading.Event()
        connection = await asyncio.to_thread(_connect, settings, woken.set)
        stack.push_async_callback(asyncio.to_thread, connection.close)
        keeper, uri = connection.keeper, connection.uri
        keeper.start()
        store = PostgresEventStore(uri, process=keeper.number)
        stack.push_async_callback(asyncio.to_thread, store.close)
        identity = str(await store.identity())
        journal = AnswerJournal(settings.study_home / JOURNALS / identity, process=keeper.process)
        stack.callback(journal.close)

        def connect() -> psycopg.Connection:
            return psycopg.connect(uri, application_name="study follower", **KEEPALIVES)

        optional, pgvector = await asyncio.to_thread(_install, connect)
        follower = Follower(store, connect, READ_MODELS)
        stack.push_async_callback(asyncio.to_thread, follower.close)
        following = FollowerThread(follower, woken)
        # They take their time, so that they have a follower of their own, and nobody waits for them.
        unhurried = FollowerThread(Follower(store, connect, optional), threading.Event(), unhurried=True)
        stack.push_async_callback(asyncio.to_thread, unhurried.follower.close)
        pool = AsyncConnectionPool(
            uri,
            min_size=1,
            max_size=READ_CONNECTIONS,
            open=False,
            timeout=READ_TIMEOUT_SECONDS,
            check=AsyncConnectionPool.check_connection,
        )
        await pool.open()
        stack.push_async_callback(pool.close)
        # Several stores may share a home: each has a part of its own, or one's doctor would remove another's files.
        place = await asyncio.to_thread(artifact_files, settings.artifacts_place(), identity)
        artifacts = await asyncio.to_thread(with_earlier, place, settings.earlier_artifacts_folder())
        compute = LocalCompute()
        stack.callback(compute.close)
        registry = ProviderRegistry(settings.afresh, dict(providers or {}))
        stack.push_async_callback(registry.aclose)
        queries = Queries(pool, indexed=bool(optional))
        study = _wired(
            settings, keeper, store, journal, registry, follower, optional, pgvector, queries, compute, artifacts, actor
        )
        await study.house.replay()
        await study.house.catch_up(backfill=not serving)
        await _recover(study)
        for thread in (following, *([unhurried] if optional else [])):
            thread.start()
            stack.push_async_callback(asyncio.to_thread, thread.stop)
        stack.push_async_callback(_replay_at_last, study, journal)
        tasks = [_replay_for_ever(study, journal), *([_recover_for_ever(study)] if serving else [])]
        for task in map(asyncio.create_task, tasks):
            stack.push_async_callback(_cancelled, task)
        stack.push_async_callback(study.conversations.aclose)
        stack.push_async_callback(study.asking.aclose)
        yield study


def _wired(
    settings: Settings,
    keeper: Keeper,
    store: PostgresEventStore,
    journal: AnswerJournal,
    registry: ProviderRegistry,
    follower: Follower,
    optional: tuple[ReadModel, ...],
    pgvector: str | None,
    queries: Queries,
    compute: LocalCompute,
    artifacts: ArtifactFiles,
    actor: str | None,
) -> Study:
    prices = read_price_table(settings.study_prices)
    notebook = Notebook(store, journal, clock=SystemClock(), ids=TimeOrderedIds(), process=keeper.process)
    files = ColumnarFiles()
    groups = GroupCalls(notebook)
    keep = KeepArtifact(notebook, artifacts)
    stopping = Stopping()
    chance = random.Random()  # noqa: S311 - jitter is no secret
    call_provider = CallProvider(notebook, chance=chance, places=registry.place, stopping=stopping, prices=prices)
    share = ShareCalls(notebook, call_provider)
    answered = AnsweredCalls(queries.calls, follower)
    reuse = ReuseAnswers(notebook, answered)
    encodings = PublishedEncodings()
    ask = AskModel(share, reuse, registry, groups, lambda: _chat_policy(settings), encodings)
    stream = StreamAnswer(ask)
    keep_conversation = KeepConversation(notebook, registry)
    converse = ContinueConversation(notebook, keep_conversation, ask, AdoptAnswer(store, answered), encodings)
    summarise = SummariseTexts(ask)
    import_dataset = ImportDataset(notebook, groups, keep, files)
    cache = CachedVectors(queries.embeddings, follower)
    send = SendTexts(call_provider, SharedTexts(notebook, store), cache, store, notebook.ids.new, TextBatches())
    validate = ValidateDeployments(notebook, call_provider, registry, lambda: _probe_policy(settings.afresh()))
    embed = EmbedTexts(
        notebook,
        send,
        registry,
        cache,
        groups,
        lambda: _embed_policy(settings),
        validate.check_before_embedding,
        software_versions(),
    )
    gather = GatherSweep(embed, import_dataset, groups)
    run_sweep = RunSweep(notebook, groups, keep, files, summarise, compute, software_versions)
    recover = RecoverCalls(notebook, queries.calls, store, after_seconds=settings.study_in_doubt_after_s)
    moments = Moments(store, follower)
    read_bytes = ReadBytes(store)
    audit_log = AuditLog(store, queries.groups)
    return Study(
        settings=settings,
        actor=actor or operating_system_user(),
        notebook=notebook,
        store=store,
        registry=registry,
        stopping=stopping,
        queries=queries,
        moments=moments,
        asking=Asking(ask, AskBatch(notebook, ask, groups, answered), stream),
        calls=Calls(queries, moments),
        embeddings=Embeddings(embed, gather, moments),
        datasets=Datasets(import_dataset, SampleDataset(import_dataset, groups), queries, moments),
        sweeps=Sweeps(gather, run_sweep, keep, files, queries, moments),
        providers=Providers(registry, validate),
        history=History(store, audit_log),
        house=House(store, follower, optional, ReplayJournal(store, journal), recover),
        conversations=Conversations(keep_conversation, converse, stream, queries, moments),
        groups=Groups(groups, queries, moments),
        artifacts=Artifacts(
            KeepFile(groups, keep, KnownKinds()),
            ReadArtifact(artifacts),
            MendArtifacts(artifacts, KeptByArtifacts(queries.catalogue, follower), notebook.clock),
            queries,
            moments,
        ),
        vectors=Vectors(
            FindSimilar(embed, queries.vectors_in_bulk, queries),
            ExportEmbeddings(queries.vectors_in_bulk, StreamedVectorFiles()),
            ReadVectors(import_dataset, registry, cache),
            gather,
            queries,
            moments,
            store,
            pgvector,
        ),
        provenance=Provenance(queries, read_bytes, moments),
        audit=Audit(audit_log, store, queries, moments, notebook.clock),
        bodies=Bodies(read_bytes, moments),
    )


class _Connection:
    """The way to the store: its URI, this process's keeper, and the embedded server if it is ours."""

    def __init__(self, uri: str, keeper: Keeper, embedded: "EmbeddedPostgres | None") -> None:
        self.uri = uri
        self.keeper = keeper
        self.embedded = embedded

    def close(self) -> None:
        """Give the keeper back; the last user stops the embedded server."""
        self.keeper.close()
        if self.embedded is not None:
            self.embedded.stop_if_unused(leaving=self.keeper.process)


def _connect(settings: Settings, on_event: Callable[[], None]) -> _Connection:
    if settings.database_url is not None:
        uri = settings.database_url.get_secret_value()
        return _migrated(uri, uri, on_event)
    # Only here, since it needs what Windows has not: there, DATABASE_URL must name a server.
    from infrastructure.embedded_postgres import EmbeddedPostgres

    embedded = EmbeddedPostgres(settings.study_home)
    return embedded.start(lambda running: _migrated(running.owner_uri, running.application_uri, on_event, embedded))


def _migrated(
    owner_uri: str, uri: str, on_event: Callable[[], None], embedded: "EmbeddedPostgres | None" = None
) -> _Connection:
    migrate(owner_uri)
    with _opening():
        return _Connection(uri, Keeper(uri, on_event=on_event), embedded)


def _install(connect: Callable[[], psycopg.Connection]) -> tuple[tuple[ReadModel, ...], str | None]:
    """Returns the optional read models that there are, and the version of pgvector that they use."""
    with _opening(), connect() as connection:
        optional = optional_read_models(connection)
        version = pgvector_version(connection) if optional else None
        install(connection, (*READ_MODELS, *optional))
        return optional, version


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise unavailable("The store can't be opened", error) from None


async def _recover_for_ever(study: Study) -> None:
    while True:
        await asyncio.sleep(RECOVERY_SECONDS)
        await _recover(study)


async def _recover(study: Study) -> None:
    try:
        await study.house.recover()
    except Unavailable as error:
        log.warning("recovery waits for the store", reason=str(error))


async def _replay_for_ever(study: Study, journal: AnswerJournal) -> None:
    while True:
        await asyncio.sleep(REPLAY_SECONDS)
        if journal.waits:
            try:
                await study.house.replay()
            except Unavailable as error:
                log.debug("the journal waits for the store", reason=str(error))
            except (StudyError, OSError) as error:
                log.warning("the journal can't be replayed", reason=str(error))


async def _replay_at_last(study: Study, journal: AnswerJournal) -> None:
    if journal.waits:
        try:
            await study.house.replay()
        except (StudyError, OSError) as error:
            log.warning("the journal waits for the next command", reason=str(error))


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _chat_policy(settings: Settings) -> AttemptPolicy:
    return AttemptPolicy(
        attempts=settings.study_chat_attempts,
        attempt_timeout_seconds=settings.study_attempt_timeout_s,
        call_timeout_seconds=settings.study_call_timeout_s,
        longest_wait_seconds=10.0,
    )


def _embed_policy(settings: Settings) -> AttemptPolicy:
    return AttemptPolicy(
        attempts=settings.study_embed_attempts,
        attempt_timeout_seconds=settings.study_attempt_timeout_s,
        call_timeout_seconds=settings.study_call_timeout_s,
        longest_wait_seconds=30.0,
    )


def _probe_policy(settings: Settings) -> ProbePolicy:
    return ProbePolicy(
        attempts=structs.replace(_embed_policy(settings), attempts=PROBE_ATTEMPTS),
        remembered_seconds=settings.study_probe_ttl_s,
        before_embedding=lambda provider: settings.study_probe_deployments and provider in HAVE_DEPLOYMENTS,
    )


def operating_system_user() -> str:
    """Who runs this process, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid {os.getuid()}" if sys.platform != "win32" else "unknown"
