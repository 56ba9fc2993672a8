"""A sweep's progress as server-sent events: what the log says of it, how far its step is, then what it came to."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.response import Stream

from domain.errors import Rejected, StudyError
from domain.events import RecordedEvent
from interfaces.http.call_stream import HEADERS, MEDIA_TYPE
from interfaces.http.problems import problem_of
from interfaces.runner.process import SweepRunner
from interfaces.study import Study
from interfaces.study.sweep_news import SweepLife

LOOK_SECONDS = 0.5
STILL_HERE_SECONDS = 15.0  # a comment, so that proxies keep the line and a client that has gone is noticed

DESCRIPTION = """
Events of the sweep from its first one on, by their names: `requested`, `started`, `step_finished` (with `k`, `done` of
`of`, and `remaining_s`), `resumed`, `interrupted`, `cancelled`, `failed`, `finished`; each has its version in the
sweep's stream as `id`, after which a client that reconnects with Last-Event-ID goes on. Between them, without an id:
`progress` (`stage`, `done`, `total`, `remaining_s`) of what this server runs itself. Once nobody is going to go on with
it: `sweep`, the whole as `GET /api/sweeps/{id}` has it, then `[DONE]`.
""".strip()
EXAMPLE = """id: 2
event: started
data: {"version":2,"position":41,"status":"running","done":0,"of":19}

event: progress
data: {"stage":"clustering","done":0,"total":19,"remaining_s":null}

id: 3
event: step_finished
data: {"version":3,"position":52,"status":"running","done":1,"of":19,"k":2,"silhouette":0.31,"remaining_s":14.2}

event: sweep
data: {"sweep_id":"1fc6734e-01a1-5f71-820e-31f1e0df585a","status":"finished","chosen_k":7, …}

data: [DONE]
"""


@dataclass
class ProgressOperation(Operation):
    """The documentation of a route that answers with events."""

    status: ClassVar[str] = "200"

    def __post_init__(self) -> None:
        """Describe the events."""
        schema = Schema(type=OpenAPIType.STRING, description=DESCRIPTION)
        media = OpenAPIMediaType(schema=schema, examples={"stream": Example(value=EXAMPLE)})
        (self.responses or {})[self.status].content = {MEDIA_TYPE: media}  # type: ignore[union-attr]


async def progress_stream(
    study: Study, runner: SweepRunner | None, sweep_id: UUID, last_event_id: str | None
) -> Stream:
    """The response. Raises NotFound, Rejected for a Last-Event-ID that is no version."""
    after = _version(last_event_id)
    events = await study.sweeps.events_of(sweep_id)
    return Stream(_events(study, runner, sweep_id, list(events), after), media_type=MEDIA_TYPE, headers=HEADERS)


async def _events(
    study: Study, runner: SweepRunner | None, sweep_id: UUID, events: list[RecordedEvent], after: int
) -> AsyncIterator[bytes]:
    life = SweepLife()
    told, silent_since = None, asyncio.get_running_loop().time()
    try:
        while True:
            sent = b"".join(
                _event(name, content, event.version)
                for event in events
                for name, content in [life.hear(event)]
                if event.version > after
            )
            news = None if runner is None else runner.news.get(sweep_id)
            if news is not None and news != told:
                told, sent = news, sent + _event("progress", news)
            now = asyncio.get_running_loop().time()
            if not sent and now - silent_since > STILL_HERE_SECONDS:
                sent = b": still here\n\n"
            if sent:
                silent_since = now
                yield sent
            if life.is_over:
                break
            await asyncio.sleep(LOOK_SECONDS)
            events = list(await study.sweeps.events_of(sweep_id, after_version=life.state.version))
        yield _event("sweep", await study.sweeps.get_as_stored(sweep_id))
        yield b"data: [DONE]\n\n"
    except StudyError as error:
        yield _event("error", problem_of(error))


def _version(last_event_id: str | None) -> int:
    if last_event_id is None or last_event_id == "":
        return 0
    if not last_event_id.isdecimal() or len(last_event_id) > 9:
        raise Rejected(
            f"Last-Event-ID: {last_event_id[:40]!r} is no id of this stream's events; leave it out to begin anew",
            fields=("Last-Event-ID",),
        )
    return int(last_event_id)


def _event(name: str, content: Any, version: int | None = None) -> bytes:
    numbered = b"" if version is None else f"id: {version}\n".encode()
    return numbered + b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(content) + b"\n\n"
