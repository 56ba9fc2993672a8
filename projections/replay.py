"""Replay the log into generations that nobody reads yet: what rebuilding and verifying have in common."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, Protocol

import psycopg

from application.ports import EventPages
from application.store_trouble import unavailable
from domain.errors import NotFound, StudyError, Unavailable
from projections.advance import advance
from projections.generations import Connect, Connection, Generation, generations, opened
from projections.pages import BatchSize, SharedPages
from projections.read_model import ReadModel

HELD_PATIENCE_SECONDS = 30.0

Progress = Callable[[str, int, int], None]  # read model, position, position to reach


class ProjectionFailed(StudyError):
    """A read model can't be replayed past an event."""


class Log(Protocol):
    """What replaying needs; a Follower is one."""

    @property
    def pages(self) -> EventPages:
        """The log's pages."""

    @property
    def connect(self) -> Connect:
        """What connects to the store."""

    @property
    def read_models(self) -> tuple[ReadModel, ...]:
        """Those to replay."""


class WholeLog(NamedTuple):
    """A log with read models that more than one follower looks after."""

    pages: EventPages
    connect: Connect
    read_models: tuple[ReadModel, ...]


class Replay:
    """A generation on its way to a position."""

    def __init__(self, model: ReadModel, generation: Generation, until: int) -> None:
        self.model = model
        self.generation = generation
        self.until = until
        self.position = generation.position
        self.moved_at = time.monotonic()
        self.failure: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it arrived, or never will."""
        return self.failure is not None or self.position >= self.until


def replay(connection: Connection, pages: SharedPages, replays: list[Replay], progress: Progress | None) -> None:
    """The same path as following, each up to exactly its `until`; those at the same place share what is read."""
    size = BatchSize()
    while under_way := [each for each in replays if not each.ended]:
        lowest, batch_size, began = min(each.position for each in under_way), size.events, time.monotonic()
        moved = [
            _advance(connection, pages, each, batch_size, progress) for each in under_way if each.position == lowest
        ]
        if max(moved) >= batch_size:
            size.took(time.monotonic() - began)
        elif not any(moved):
            time.sleep(0.02)


def _advance(
    connection: Connection, pages: SharedPages, replay: Replay, batch_size: int, progress: Progress | None
) -> int:
    """One batch; returns how many events this process applied."""
    generation = replay.generation
    done = advance(connection, pages, replay.model, generation, until=replay.until, batch_size=batch_size)
    if done.outcome == "failed":
        replay.failure = f"{replay.model.name} can't be replayed past event {done.failed_position}: {done.reason}"
        return 0
    position = done.position
    if done.outcome == "at_end":
        position = replay.until
    elif done.outcome == "held":
        # Another process is building the same generation: its work is ours, while it does any.
        position = _still_there(connection, generation).position
        if position == replay.position and time.monotonic() - replay.moved_at > HELD_PATIENCE_SECONDS:
            raise Unavailable(
                f"Another process holds {generation.schema} at position {position} and does not move it; "
                "end that process, then run the command again"
            )
    if position > replay.position:
        replay.position, replay.moved_at = position, time.monotonic()
    if progress:
        progress(replay.model.name, replay.position, replay.until)
    return done.moved


def raise_failures(replays: list[Replay]) -> None:
    """Raise ProjectionFailed if some never arrived, naming each."""
    failures = [each.failure for each in replays if each.failure is not None]
    if failures:
        raise ProjectionFailed(
            f"The read model{'s' if len(failures) > 1 else ''} {'; '.join(failures)}; what is live is as it was"
        )


def named(log: Log, name: str | None) -> Sequence[ReadModel]:
    """One read model, or all of them. Raises NotFound."""
    models = [model for model in log.read_models if name in (None, model.name)]
    if not models:
        known = ", ".join(model.name for model in log.read_models)
        raise NotFound(f"There is no read model {name!r}; there are {known}")
    return models


@contextmanager
def work(log: Log) -> Iterator[psycopg.Connection[Any]]:
    """A connection for one command."""
    try:
        with closing(opened(log.connect)) as connection:
            yield connection
    except psycopg.Error as error:
        raise unavailable("The read models can't be replayed; a rebuild goes on where it stopped", error) from error


def _still_there(connection: Connection, generation: Generation) -> Generation:
    for each in generations(connection, "building", "live", "verifying"):
        if each.schema == generation.schema:
            return each
    raise Unavailable(
        f"{generation.schema} was dropped meanwhile: another version of study-query-llm has opened the store, "
        "or another process has replaced it; run the command again"
    )
