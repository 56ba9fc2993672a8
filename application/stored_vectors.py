"""What use cases know of vectors in the notebook: which there are, and how they are asked for."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class VectorFilter(Struct, frozen=True, kw_only=True):
    """Which vectors are meant; None leaves a filter out. Times are those of the calls' requests."""

    provider: str | None = None
    model: str | None = None
    dimension: int | None = None
    group_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def narrows(self) -> bool:
        """Whether it leaves vectors of a space out."""
        return any(value is not None for value in (self.group_id, self.since, self.until))

    def names(self, space: "Space") -> bool:
        """Whether a space is one of those meant."""
        return (
            self.provider in (None, space.provider)
            and self.model in (None, space.model)
            and self.dimension in (None, space.dimension)
        )


class Space(Struct, frozen=True, kw_only=True):
    """Vectors that can be compared: those of one provider, endpoint, model and dimension.

    last_position: of the last answer that there is
    dimensions: what the first of its calls asked for; None left it to the model
    """

    embedder: int
    dimension: int
    provider: str
    endpoint: str
    model: str
    texts: int
    last_position: int
    dimensions: int | None = None


# What calls say that embedded a text only to search with it, or to see whether a deployment is there. Such texts are
# embedded in passing: they are not found until somebody wants them.
FOR_SEARCH = {"purpose": "similarity search"}
FOR_VALIDATION = {"purpose": "deployment validation"}
IN_PASSING = frozenset({FOR_SEARCH["purpose"], FOR_VALIDATION["purpose"]})


class StoredRows(NamedTuple):
    """Some thousands of vectors with what is known of each, in the log's order.

    vectors: (n, d) float32; positions: (n,) int64; input_indexes: (n,) int32
    request_hashes: n × 32 bytes, zeros where a call doesn't say which texts it embedded
    call_ids: one a call, of which `counts` says how many rows are its
    """

    vectors: NDArray[np.float32]
    texts: list[str | None]
    request_hashes: bytes
    call_ids: list[UUID]
    counts: NDArray[np.int64]
    input_indexes: NDArray[np.int32]
    positions: NDArray[np.int64]


class StoredVectors(Protocol):
    """The read models of vectors."""

    async def space(self, wanted: VectorFilter, *, as_of: int | None = None) -> Space:
        """The one space that fits. Raises NotFound for none, Rejected naming them when there are several."""

    async def count(self, space: Space, wanted: VectorFilter, *, position: int) -> int:
        """How many vectors fit, up to a position."""

    def rows(self, space: Space, wanted: VectorFilter, *, position: int, texts: bool) -> AsyncIterator[StoredRows]:
        """Those vectors, in bounded memory; without `texts` those stay None and are not read."""


class VectorSearch(Protocol):
    """Similarity search."""

    async def similar(
        self, vector: Sequence[float], wanted: VectorFilter, *, limit: int = 10, as_of: int | None = None
    ) -> dict[str, Any]:
        """{items, next_cursor}: the most similar texts, the most similar first. Raises Rejected, NotFound."""
