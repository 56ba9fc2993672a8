"""Opening a study: a store is reached, followed and mended, and everything that can be done on it is handed out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg_pool import AsyncConnectionPool

from application.providers import Provider
from application.store_trouble import unavailable
from infrastructure.answer_journal import JOURNALS, AnswerJournal
from infrastructure.artifact_urls import artifact_files
from infrastructure.compute import LocalCompute
from infrastructure.earlier_artifacts import with_earlier
from infrastructure.event_store.datastore import KEEPALIVES
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.providers.registry import ProviderRegistry
from infrastructure.settings import Settings
from interfaces.composition.upkeep import (
    cancelled,
    measure_for_ever,
    recover,
    recover_for_ever,
    replay_at_last,
    replay_for_ever,
)
from interfaces.composition.wiring import Outside, Wiring
from interfaces.study import Study
from projections.follow import Follower, FollowerThread
from projections.generations import install
from projections.near_vectors import pgvector_version
from projections.queries import Queries
from projections.read_model import ReadModel
from projections.read_models import FOLLOWED_APART, READ_MODELS, optional_apart, optional_read_models

if TYPE_CHECKING:
    from infrastructure.embedded_postgres import EmbeddedPostgres
    from infrastructure.metrics import Metrics

READ_CONNECTIONS = 4
READ_TIMEOUT_SECONDS = 5.0


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
        wakened: list[Callable[[], None]] = []
        connection = await asyncio.to_thread(_connect, settings, lambda: _tell_all(wakened))
        stack.push_async_callback(asyncio.to_thread, connection.close)
        connection.keeper.start()
        metrics = _metrics() if serving else None
        outside, followers = await _outside(stack, settings, connection, wakened, providers, metrics)
        study = Wiring(outside).study(actor)
        wakened.append(study.live.wake)
        await study.house.replay()
        await study.house.catch_up(backfill=not serving)
        await recover(study)
        for thread in followers:
            thread.start()
            stack.push_async_callback(asyncio.to_thread, thread.stop)
        stack.push_async_callback(replay_at_last, study, outside.journal)
        for_ever = (
            [recover_for_ever(study), study.tokens.check.read_on_for_ever(), measure_for_ever(study)] if serving else []
        )
        tasks = [replay_for_ever(study, outside.journal), *for_ever]
        for task in map(asyncio.create_task, tasks):
            stack.push_async_callback(cancelled, task)
        stack.callback(study.live.end, "The study is being closed")
        stack.push_async_callback(study.conversations.aclose)
        stack.push_async_callback(study.asking.aclose)
        yield study


async def _outside(
    stack: AsyncExitStack,
    settings: Settings,
    connection: "_Connection",
    wakened: list[Callable[[], None]],
    providers: Mapping[str, Provider] | None,
    metrics: "Metrics | None",
) -> tuple[Outside, list[FollowerThread]]:
    """Open everything that a study stands on; the stack closes it again. Returns it with its followers, not started."""
    keeper, uri = connection.keeper, connection.uri
    store = PostgresEventStore(uri, process=keeper.number, appended=None if metrics is None else metrics.appended)
    stack.push_async_callback(asyncio.to_thread, store.close)
    identity = str(await store.identity())
    journal = AnswerJournal(settings.study_home / JOURNALS / identity, process=keeper.process)
    stack.callback(journal.close)

    def connect() -> psycopg.Connection:
        return psycopg.connect(uri, application_name="study follower", **KEEPALIVES)

    optional, substrings, pgvector = await asyncio.to_thread(_install, connect)
    follower = Follower(store, connect, [model for model in READ_MODELS if model not in FOLLOWED_APART])
    stack.push_async_callback(asyncio.to_thread, follower.close)
    apart = Follower(store, connect, (*FOLLOWED_APART, *substrings))
    stack.push_async_callback(asyncio.to_thread, apart.close)
    # They take their time, so that they have a follower of their own, and nobody waits for them.
    unhurried = Follower(store, connect, optional)
    stack.push_async_callback(asyncio.to_thread, unhurried.close)
    woken, woken_apart = threading.Event(), threading.Event()
    wakened += [woken.set, woken_apart.set]
    followers = [
        FollowerThread(follower, woken),
        FollowerThread(apart, woken_apart),
        *([FollowerThread(unhurried, threading.Event(), unhurried=True)] if optional else []),
    ]
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
    queries = Queries(pool, indexed=bool(optional), substrings=bool(substrings))
    outside = Outside(
        settings,
        keeper,
        store,
        journal,
        registry,
        follower,
        (apart, unhurried),
        pgvector,
        queries,
        compute,
        artifacts,
        metrics,
    )
    return outside, followers


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


def _metrics() -> "Metrics":
    # Only here, since what no command needs would make each of them start later.
    from infrastructure.metrics import Metrics

    return Metrics()


def _tell_all(wakened: list[Callable[[], None]]) -> None:
    for wake in wakened:
        wake()


def _install(
    connect: Callable[[], psycopg.Connection],
) -> tuple[tuple[ReadModel, ...], tuple[ReadModel, ...], str | None]:
    """Returns the optional read models that there are, those that are followed apart, and the version of pgvector."""
    with _opening(), connect() as connection:
        optional = optional_read_models(connection)
        version = pgvector_version(connection) if optional else None
        substrings = optional_apart(connection)
        install(connection, (*READ_MODELS, *optional, *substrings))
        return optional, substrings, version


@contextmanager
def _opening() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise unavailable("The store can't be opened", error) from None
