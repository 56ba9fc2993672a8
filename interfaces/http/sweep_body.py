"""What is sent to ask for a sweep."""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from msgspec import Meta, structs
from numpy.typing import NDArray

from application.sweep_request import LARGEST_K
from domain.clustering.methods import Method
from domain.clustering.vectors import check_vectors
from domain.errors import Rejected
from domain.sweeps import SweepConfig
from interfaces.http.parameters import Name
from interfaces.sweep_options import SweepOptions

MOST_ROWS = 100_000
MOST_STEPS = 1000

K = Annotated[int, Meta(ge=1, le=LARGEST_K)]
Column = Annotated[list[str], Meta(max_length=MOST_ROWS)]

EXAMPLE = {"dataset": "reviews", "provider": "local", "k_min": 2, "k_max": 20, "restarts": 10}


class SweepBody(SweepOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A dataset, or vectors made elsewhere with their texts and labels; and how to cluster them.

    k_values: in place of k_min and k_max
    compute: local, or a scheduler that the server's STUDY_COMPUTE names
    force: run it again though it is finished
    """

    dataset: Name | None = None
    provider: Name | None = None
    model: Name | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    vectors: Annotated[list[list[float]], Meta(min_length=1, max_length=MOST_ROWS)] | None = None
    texts: Column | None = None
    labels: Column | None = None
    k_values: Annotated[list[K], Meta(min_length=1, max_length=MOST_STEPS)] | None = None
    compute: Name = "local"
    force: bool = False

    def config(self, methods: Mapping[str, Method]) -> SweepConfig:
        """Everything that decides the numbers. Raises Rejected."""
        if self.k_values is None:
            return super().config(methods)
        if self.k_min is not None or self.k_max is not None:
            raise Rejected("Give either k_values, or k_min and k_max", fields=("k_values", "k_min", "k_max"))
        return structs.replace(super().config(methods), k_values=tuple(sorted(set(self.k_values))))

    def check(self) -> None:
        """Raise Rejected unless there is either a dataset or vectors, and only what goes with that."""
        if (self.dataset is None) == (self.vectors is None):
            raise Rejected("Give either a dataset or vectors", fields=("dataset", "vectors"))
        if self.dataset is not None and (self.texts is not None or self.labels is not None):
            raise Rejected("texts and labels go with vectors; a dataset brings its own", fields=("texts", "labels"))
        if self.vectors is not None and (self.provider or self.model or self.dimensions):
            raise Rejected("vectors are not embedded again, so provider and model mean nothing", fields=("provider",))

    def matrix(self) -> NDArray[np.float32]:
        """(n, d) float32. Raises Rejected for rows of different lengths and for what is no finite number."""
        rows = self.vectors or []
        if len({len(row) for row in rows}) != 1:
            raise Rejected("The vectors have different lengths", fields=("vectors",))
        return check_vectors(np.array(rows, dtype=np.float32))
