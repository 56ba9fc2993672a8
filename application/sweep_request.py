"""What is to be swept, and whether it can be."""

from collections.abc import Mapping
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.paraphrase import PYTHON, Paraphraser
from domain.clustering.choosing import check_asked
from domain.clustering.methods import METHODS, LlmMeansParameters, Method, method
from domain.errors import Rejected
from domain.sweeps import SweepConfig, SweepSource

LARGEST_K = 10_000


class SweepRequest(Struct, frozen=True, kw_only=True):
    """What to sweep: vectors (n_samples, n_features) float32 with, where there are some, their texts and labels."""

    vectors: NDArray[np.float32]
    config: SweepConfig
    source: SweepSource
    texts: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    salt: str | None = None
    dataset_group_id: UUID | None = None
    request_hashes: tuple[str, ...] | None = None  # a row's: what its text was embedded under
    gather_duration_s: float | None = None
    paraphraser: Paraphraser | None = None  # the function that config.summarise names, where it names one


def check_request(request: SweepRequest, methods: Mapping[str, Method] = METHODS) -> None:
    """Raise Rejected for what can't be swept, naming the option at fault."""
    count = request.vectors.shape[0]
    check_config(request.config, count, methods)
    for name, values in (("texts", request.texts), ("labels", request.labels), ("hashes", request.request_hashes)):
        if values is not None and len(values) != count:
            raise Rejected(f"There are {len(values)} {name} for {count} vectors; each vector needs one", fields=(name,))
    check_paraphraser(request)
    if asks_in_rounds(request.config):
        _check_rounds(request)


def check_paraphraser(request: SweepRequest) -> None:
    """Raise Rejected where the clusters are worded by a function that only its caller has."""
    if (request.config.summarise or "").startswith(PYTHON) and request.paraphraser is None:
        named = (request.config.summarise or "").removeprefix(PYTHON)
        raise Rejected(
            f"The clusters are worded by the function {named}; run the sweep from Python, with it as paraphraser",
            fields=("paraphraser",),
        )


def check_config(config: SweepConfig, n_samples: int, methods: Mapping[str, Method] = METHODS) -> None:
    """Raise Rejected for a configuration that can't be run on so many samples."""
    check_asked(config, method(config.method, methods))  # what is unknown is rejected before anything is written
    for name, value in (("summarise", config.summarise), ("embedding", config.parameters.get("embedding"))):
        if value is not None and not value.startswith(PYTHON) and not all(value.partition("/")[::2]):
            raise Rejected(f"{name} is written PROVIDER/MODEL, not {value!r}", fields=(name,))
    if asks_in_rounds(config) and config.summarise is None:
        raise Rejected(
            f"{config.method} needs somebody who summarises: name one with --summarise PROVIDER/MODEL, or take "
            "summary=medoid, which needs no model",
            fields=("summarise",),
        )
    if max(config.k_values, default=1) > min(n_samples, LARGEST_K):
        raise Rejected(
            f"K = {max(config.k_values)} is more than the {n_samples} texts there are; lower --k-max",
            fields=("k_max",),
        )
    if config.restarts < 1 or config.max_iterations < 1:
        raise Rejected("restarts and max-iter must be at least 1", fields=("restarts", "max_iter"))


def asks_in_rounds(config: SweepConfig) -> bool:
    """Whether the method asks somebody to summarise what is in its clusters."""
    known = METHODS.get(config.method)  # no other distribution's method runs in rounds
    if known is None or not known.in_rounds:
        return False
    parameters = known.check(config.parameters)
    return isinstance(parameters, LlmMeansParameters) and parameters.summary == "model"


def _check_rounds(request: SweepRequest) -> None:
    if request.texts is None:
        raise Rejected(
            f"{request.config.method} summarises texts: give the vectors' texts, or take summary=medoid",
            fields=("texts",),
        )
    if request.source.embedding_provider is None and "embedding" not in request.config.parameters:
        raise Rejected(
            "The vectors were made elsewhere: name who embeds the summaries as they were, with "
            "embedding=PROVIDER/MODEL, or take summary=medoid",
            fields=("embedding",),
        )
