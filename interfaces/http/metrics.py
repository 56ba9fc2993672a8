"""What the server measures of itself, as Prometheus reads it."""

import asyncio

from litestar import Response, get
from prometheus_client.core import Metric

from infrastructure.metrics import gauge_of
from interfaces.http.parameters import Json, OpenStudy
from interfaces.http.problems import problem_responses

ASK_SECONDS = 3.0
MEDIA_TYPE = "text/plain; version=1.0.0; charset=utf-8"


@get("/metrics", summary="Read what is measured", responses=problem_responses(), media_type=MEDIA_TYPE, tags=["health"])
async def read_metrics(study: OpenStudy) -> Response[bytes]:
    """Calls under OpenTelemetry's names for generative AI, requests, appends, lag; those of all workers together.

    A store that is away is a measure of its own, `study_store_up`, and no error.
    """
    study.house.measure(readers=study.live.readers)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            health = await study.house.health()
    except TimeoutError:
        health = {"store": {"ok": False}}
    if study.metrics is None:
        return Response(b"", media_type=MEDIA_TYPE)
    return Response(await asyncio.to_thread(study.metrics.text, _of_the_store(health)), media_type=MEDIA_TYPE)


def _of_the_store(health: Json) -> list[Metric]:
    store, follower, journal = (health.get(name, {}) for name in ("store", "follower", "journal"))
    models = [row for row in follower.get("read_models", []) if row["state"] == "live"]
    found = [
        gauge_of("study_store_up", "Whether the store answers.", [], [([], float(store["ok"]))]),
        gauge_of(
            "study_read_model_lag_events",
            "Positions that a read model is behind the log.",
            ["read_model"],
            [([row["name"]], row["lag_events"]) for row in models],
        ),
        gauge_of(
            "study_read_model_lag_seconds",
            "Age of the first event that a read model has not read.",
            ["read_model"],
            [([row["name"]], row["lag_seconds"]) for row in models],
        ),
        gauge_of(
            "study_read_model_stopped",
            "Whether a read model has stopped at an event it can't apply.",
            ["read_model"],
            [([row["name"]], float(row["name"] in follower["stopped"])) for row in models],
        ),
    ]
    if "position" in store:
        found.append(gauge_of("study_store_position", "The log's last position.", [], [([], store["position"])]))
    if "waiting_bytes" in journal:
        told = "Bytes that wait in journals for the store."
        found.append(gauge_of("study_journal_bytes", told, [], [([], float(journal["waiting_bytes"]))]))
    return found
