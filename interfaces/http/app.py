"""The HTTP application: routes, errors and the open study behind them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide

from application.notebook import Context
from infrastructure.settings import Settings
from interfaces.composition import open_study
from interfaces.http import (
    analytics,
    artifacts,
    audit,
    batches,
    calls,
    conversations,
    datasets,
    documentation,
    embeddings,
    exports,
    groups,
    health,
    live,
    metrics,
    projections,
    provenance,
    providers,
    summaries,
    sweeps,
    tokens,
)
from interfaces.http.compression import Compression
from interfaces.http.gate import Gate
from interfaces.http.gateway import Gateway
from interfaces.http.idempotency import Idempotency
from interfaces.http.limits import Limits
from interfaces.http.methods import Methods
from interfaces.http.parameters import QUESTIONS, OpenStudy, context_of, only_known_parameters
from interfaces.http.problems import HANDLERS
from interfaces.http.refusals import REFUSALS
from interfaces.http.requests import JsonRequest
from interfaces.http.scopes import may_ask
from interfaces.http.unchanging import NotModified, of_not_modified, tell_etag, unless_known
from interfaces.runner.process import SweepRunner, running_sweeps
from interfaces.study import Study

LARGEST_BODY_BYTES = 20_000_000


def create_app(
    settings: Settings,
    study: Study | None = None,
    *,
    loopback: bool = True,
    workers: int = 1,
    runs_sweeps: bool = True,
) -> Litestar:
    """The application. Without a study that is open already, it opens one for as long as it lives.

    loopback: only this machine reaches it, so that nobody needs a token; workers: how many processes serve together
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
            # Their answers hold nothing secret, so that they may be kept under an Idempotency-Key.
            Router(
                "/",
                route_handlers=[
                    calls.ROUTES,
                    batches.ROUTES,
                    embeddings.ROUTES,
                    groups.ROUTES,
                    conversations.ROUTES,
                    providers.ROUTES,
                    sweeps.ROUTES,
                    summaries.ROUTES,
                ],
                middleware=[Idempotency()],
            ),
            Router(
                "/",
                route_handlers=[datasets.ROUTES, artifacts.ROUTES],
                request_max_body_size=settings.study_largest_upload_mb * 1_000_000,
            ),
            projections.ROUTES,
            provenance.ROUTES,
            audit.ROUTES,
            analytics.ROUTES,
            exports.ROUTES,
            live.ROUTES,
            tokens.ROUTES,
        ],
        guards=[only_known_parameters, unless_known],
    )
    limits = Limits(
        rate=settings.study_token_rate,
        burst=settings.study_token_burst,
        places=settings.study_token_concurrency,
        workers=workers,
    )
    app = Litestar(
        route_handlers=[api, health.ROUTES, metrics.read_metrics, *documentation.routes()],
        lifespan=[with_study],
        guards=[may_ask],
        dependencies={
            "study": Provide(_study, sync_to_thread=False),
            "context": Provide(_context, sync_to_thread=False),
            "runner": Provide(_runner, sync_to_thread=False),
            **QUESTIONS,
        },
        exception_handlers={**HANDLERS, **REFUSALS, NotModified: of_not_modified},
        before_send=[tell_etag],
        openapi_config=documentation.openapi(),
        request_class=JsonRequest,
        request_max_body_size=LARGEST_BODY_BYTES,
        logging_config=None,
    )
    # Around the whole application and not as middleware, which does not see addresses that no route has.
    gateway = Gateway(Compression(Methods(app.asgi_handler)), lambda: _study(app.state))
    app.asgi_handler = Gate(gateway, loopback=loopback, limits=limits)
    return app


def gate_of(app: Litestar) -> Gate:
    """The gate of an application that `create_app` made, for what is served beside it."""
    gate = app.asgi_handler
    if not isinstance(gate, Gate):
        raise TypeError("This application has no gate: make it by create_app")
    return gate


def _study(state: State) -> Study:
    study: Study = state.study
    return study


def _runner(state: State) -> SweepRunner | None:
    runner: SweepRunner | None = state.runner
    return runner


def _context(request: Request[Any, Any, Any], study: OpenStudy) -> Context:
    return context_of(study, request.scope["state"])
