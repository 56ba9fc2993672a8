"""What is to be swept, and whether it can be."""

from collections.abc import Mapping
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.clustering.choosing import check_asked
from domain.clustering.methods import METHODS, Method, method
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


def check_request(request: SweepRequest, methods: Mapping[str, Method] = METHODS) -> None:
    """Raise Rejected for what can't be swept, naming the option at fault."""
    count = request.vectors.shape[0]
    check_config(request.config, count, methods)
    for name, values in (("texts", request.texts), ("labels", request.labels), ("hashes", request.request_hashes)):
        if values is not None and len(values) != count:
            raise Rejected(f"There are {len(values)} {name} for {count} vectors; each vector needs one", fields=(name,))


def check_config(config: SweepConfig, n_samples: int, methods: Mapping[str, Method] = METHODS) -> None:
    """Raise Rejected for a configuration that can't be run on so many samples."""
    check_asked(config, method(config.method, methods))  # what is unknown is rejected before anything is written
    if max(config.k_values, default=1) > min(n_samples, LARGEST_K):
        raise Rejected(
            f"K = {max(config.k_values)} is more than the {n_samples} texts there are; lower --k-max",
            fields=("k_max",),
        )
    if config.restarts < 1 or config.max_iterations < 1:
        raise Rejected("restarts and max-iter must be at least 1", fields=("restarts", "max_iter"))
