"""The HTTP application: routes, errors and the open study behind them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide

from application.notebook import Context
from infrastructure.settings import Settings, read_settings
from interfaces.composition import open_study
from interfaces.http import (
    artifacts,
    audit,
    batches,
    calls,
    conversations,
    datasets,
    documentation,
    embeddings,
    groups,
    health,
    projections,
    provenance,
    providers,
    sweeps,
    tokens,
)
from interfaces.http.gate import Gate
from interfaces.http.gateway import Gateway
from interfaces.http.parameters import QUESTIONS, OpenStudy, only_known_parameters
from interfaces.http.problems import HANDLERS
from interfaces.logs import configure_logs
from interfaces.runner.process import SweepRunner, running_sweeps
from interfaces.study import Study

LARGEST_BODY_BYTES = 20_000_000


def create_app(settings: Settings, study: Study | None = None, *, runs_sweeps: bool = True) -> Litestar:
    """The application. Without a study that is open already, it opens one for as long as it lives.

    runs_sweeps: have a process run the sweeps that are asked for; not where another server process has one
    """

    @asynccontextmanager
    async def with_study(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            opened = study
            if opened is None:
                opened = await stack.enter_async_context(open_study(settings, serving=True))
            app.state.study = opened
            running = running_sweeps(settings, opened)
            app.state.runner = await stack.enter_async_context(running) if runs_sweeps else None
            yield

    api = Router(
        "/api",
        route_handlers=[
            calls.ROUTES,
            batches.ROUTES,
            embeddings.ROUTES,
            Router(
                "/",
                route_handlers=[datasets.ROUTES, artifacts.ROUTES],
                request_max_body_size=settings.study_largest_upload_mb * 1_000_000,
            ),
            groups.ROUTES,
            sweeps.ROUTES,
            projections.ROUTES,
            providers.ROUTES,
            conversations.ROUTES,
            provenance.ROUTES,
            audit.ROUTES,
            tokens.ROUTES,
        ],
        guards=[only_known_parameters],
    )
    app = Litestar(
        route_handlers=[api, health.ROUTES, *documentation.routes()],
        lifespan=[with_study],
        dependencies={
            "study": Provide(_study, sync_to_thread=False),
            "context": Provide(_context, sync_to_thread=False),
            "runner": Provide(_runner, sync_to_thread=False),
            **QUESTIONS,
        },
        exception_handlers=HANDLERS,
        openapi_config=documentation.openapi(),
        request_max_body_size=LARGEST_BODY_BYTES,
        logging_config=None,
    )
    # Around the whole application and not as middleware, which does not see addresses that no route has.
    app.asgi_handler = Gate(Gateway(app.asgi_handler, lambda: _study(app.state)))
    return app


def from_environment() -> Litestar:
    """The application of a worker process: its settings come from the environment alone."""
    settings = read_settings()
    configure_logs(settings, unless_asked="info")
    return create_app(settings, runs_sweeps=False)


def _study(state: State) -> Study:
    study: Study = state.study
    return study


def _runner(state: State) -> SweepRunner | None:
    runner: SweepRunner | None = state.runner
    return runner


def _context(request: Request[Any, Any, Any], study: OpenStudy) -> Context:
    """On whose behalf a request runs; its id, if it is a UUID, is shared by all the events it causes."""
    try:
        return study.context(correlation_id=UUID(request.scope["state"]["request_id"]))
    except ValueError:
        return study.context()
