"""Make a read model anew beside the live one, then put it in its place."""

import time
from collections.abc import Callable
from contextlib import closing

import psycopg

from domain.errors import Unavailable
from projections.generations import Connection, Generation, building, create_indexes, sweep_out
from projections.pages import SharedPages
from projections.read_model import ReadModel
from projections.replay import Log, Progress, Replay, named, raise_failures, replay, work
from projections.swap import swap

SWAP_PATIENCE_SECONDS = 60.0


def rebuild(log: Log, name: str | None = None, progress: Progress | None = None) -> None:
    """Replay one read model, or all in one go, beside the live ones, and swap; an interrupted rebuild goes on.

    Raises NotFound for an unknown name, ProjectionFailed when the others are rebuilt, Unavailable.
    """
    models = named(log, name)
    with work(log) as connection, closing(SharedPages(log.pages)) as pages:
        sweep_out(connection)
        replays = [Replay(model, building(connection, model), log.pages.last_position()) for model in models]
        replay(connection, pages, replays, progress)
        for each in replays:
            if each.failure is None:
                _index(connection, pages, each, log.pages.last_position, progress)
                _swap_patiently(connection, pages, each.model, each.generation)
    raise_failures(replays)


def _index(
    connection: Connection,
    pages: SharedPages,
    one: Replay,
    last_position: Callable[[], int],
    progress: Progress | None,
) -> None:
    """Make the indexes, and read what came meanwhile, so that little is left to read while the swap locks."""
    while create_indexes(connection, one.model, one.generation):
        one.until = last_position()
        replay(connection, pages, [one], progress)


def _swap_patiently(connection: Connection, pages: SharedPages, model: ReadModel, generation: Generation) -> None:
    """Try for a minute, so briefly each time that nobody who reads has to wait for us."""
    deadline = time.monotonic() + SWAP_PATIENCE_SECONDS
    while True:
        try:
            swap(connection, pages, model, generation)
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{model.name} is rebuilt, but a long query reads its views; end that, then run the command again"
                ) from None
            time.sleep(0.2)
        else:
            return
