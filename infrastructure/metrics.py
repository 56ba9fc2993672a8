"""What a server measures of itself, for Prometheus, under the names that OpenTelemetry gives such measures.

Calls are measured by the facts that are recorded of them, so that a measure and the notebook never tell of different
calls. Labels are bounded: a model is a word of whoever asks, and only so many of them have a series of their own.
"""

import os
from collections.abc import Iterable, Iterator
from uuid import UUID

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from application.ports import NewEvent
from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallRequested

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where the workers of a server keep what they measured, as the library says
MOST_MODELS = 100
OTHER = "_OTHER"

# OpenTelemetry's semantic conventions for generative AI and HTTP recommend these boundaries.
OPERATION_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = tuple(4**power for power in range(14))
FIRST_TOKEN_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
OUTPUT_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5)
HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
APPEND_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
PROVIDERS = {"azure": "azure.ai.openai"}  # where the convention has a name of its own
ASKED = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

Labels = tuple[str, str, str]


class Metrics:
    """The measures of one server process; those of its siblings are added when they are read."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._shared_folder = os.environ.get(SHARED_FOLDER)
        self._models: set[tuple[str, str]] = set()
        self._calls: dict[UUID, Labels] = {}  # that have not ended
        self._operation = self._histogram(
            "gen_ai_client_operation_duration_seconds",
            "Time from a call's first attempt to its end, waits between attempts included.",
            (*ASKED, "error_type"),
            OPERATION_SECONDS,
        )
        self._tokens = self._histogram(
            "gen_ai_client_token_usage", "Tokens that an answer used.", (*ASKED, "gen_ai_token_type"), TOKENS
        )
        self._first_token = self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from an attempt's beginning to the first piece of a streamed answer.",
            ASKED,
            FIRST_TOKEN_SECONDS,
        )
        self._output_token = self._histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time for each token of a streamed answer after the first one.",
            ASKED,
            OUTPUT_TOKEN_SECONDS,
        )
        self._failed_attempts = Counter(
            "study_call_attempts_failed",
            "Attempts that failed, also those of calls that were answered in the end.",
            (*ASKED, "error_type"),
            registry=self._registry,
        )
        self._in_flight = self._gauge("study_calls_in_flight", "Calls that are recorded as asked and have not ended.")
        self._http = self._histogram(
            "http_server_request_duration_seconds",
            "Time that a request took, up to the end of its answer.",
            ("http_request_method", "http_route", "http_response_status_code"),
            HTTP_SECONDS,
        )
        self._append = self._histogram(
            "study_store_append_duration_seconds", "Time from an append to its acknowledgement.", (), APPEND_SECONDS
        )
        self._gauges = {
            "study_store_queued_appends": self._gauge("study_store_queued_appends", "Appends that wait to be written."),
            "study_events_readers": self._gauge("study_events_readers", "Readers who follow the log."),
        }

    def happened(self, event: NewEvent) -> None:
        """Take in what is recorded of a call."""
        match event.fact:
            case CallRequested() as fact:
                self._calls[event.stream_id] = self._labels(fact.operation, fact.provider, fact.model)
                self._in_flight.inc()
            case CallAttemptFailed() as fact if event.stream_id in self._calls:
                self._failed_attempts.labels(*self._calls[event.stream_id], fact.error.kind).inc()
            case CallAnswered() as fact if event.stream_id in self._calls:
                labels = self._ended(event.stream_id, fact.total_ms, "")
                self._answered(labels, fact)
            case CallFailed() as fact if event.stream_id in self._calls:
                self._ended(event.stream_id, fact.total_ms, fact.error.kind)
            case CallCancelled() as fact if event.stream_id in self._calls:
                self._ended(event.stream_id, fact.total_ms, "cancelled")

    def appended(self, seconds: float) -> None:
        """An append was acknowledged."""
        self._append.observe(seconds)

    def requested(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered; an address that no route has is no label."""
        known = method if method in METHODS else OTHER
        self._http.labels(known, route or OTHER, str(status)).observe(seconds)

    def stands(self, name: str, value: float) -> None:
        """How much there is of something just now, in this process."""
        self._gauges[name].set(value)

    def text(self, of_the_store: Iterable[Metric]) -> bytes:
        """All measures as Prometheus reads them, those of sibling workers included.

        of_the_store: what is the same whoever is asked, such as how far read models are behind
        """
        registry = self._registry
        if self._shared_folder is not None:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self._shared_folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry) + generate_latest(_Once(of_the_store))

    def _answered(self, labels: Labels, fact: CallAnswered) -> None:
        for kind, count in (("input", fact.tokens.prompt), ("output", fact.tokens.completion)):
            if count is not None:
                self._tokens.labels(*labels, kind).observe(count)
        if fact.first_token_ms is not None:
            self._first_token.labels(*labels).observe(fact.first_token_ms / 1000)
        if fact.tokens_per_second:
            self._output_token.labels(*labels).observe(1 / fact.tokens_per_second)

    def _ended(self, call_id: UUID, total_ms: float, error: str) -> Labels:
        labels = self._calls.pop(call_id)
        self._in_flight.dec()
        self._operation.labels(*labels, error).observe(total_ms / 1000)
        return labels

    def _labels(self, operation: str, provider: str, model: str) -> Labels:
        if (provider, model) not in self._models:
            if len(self._models) >= MOST_MODELS:
                model = OTHER
            else:
                self._models.add((provider, model))
        return operation, PROVIDERS.get(provider, provider), model

    def _histogram(self, name: str, told: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, told, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, told: str) -> Gauge:
        # Of workers that died, what they had counts no longer.
        return Gauge(name, told, multiprocess_mode="livesum", registry=self._registry)


class _Once(Collector):
    """Metrics that were made already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._metrics


def gauge_of(name: str, told: str, labels: list[str], values: Iterable[tuple[list[str], float]]) -> Metric:
    """A measure of the store as it is just now."""
    family = GaugeMetricFamily(name, told, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family
