"""Where vectors come from: from the cache of what was paid for before, or from a call."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.errors import Conflict


class AnsweredCall(Struct, frozen=True, gc=False):
    """A call whose vectors lie beside its answer, the event with this version.

    texts: how many it has vectors of
    cost: USD that they cost together, None where that is unknown
    """

    call_id: UUID
    version: int
    dimension: int
    texts: int
    cost: Decimal | None = None


class Found(Struct, frozen=True, kw_only=True):
    """Which of the asked texts have a vector, and where. No Python object a text.

    calls: those that are needed, and no others
    places: (n_found,) int64, increasing: the text's place among those that were asked for
    call_numbers: (n_found,) int64 into `calls`
    input_indexes: (n_found,) int64, the vector's row in its call's block
    position: what was stored up to there has been looked at
    """

    position: int
    calls: tuple[AnsweredCall, ...]
    places: NDArray[np.int64]
    call_numbers: NDArray[np.int64]
    input_indexes: NDArray[np.int64]

    def dimension(self) -> int:
        """That of all the vectors, 0 if there are none. Raises Conflict if they differ."""
        return one_dimension([(call.dimension, call.call_id) for call in self.calls])


class Vector(Struct, frozen=True, kw_only=True, gc=False):
    """One text's vector and the call that paid for it.

    row: (d,) float32
    position: where the answer is stored, None while it waits in the journal
    found_in: the call as the cache knows it, where the vector was found there
    call_cost: USD that the call cost, with all its texts
    """

    call_id: UUID
    row: NDArray[np.float32]
    position: int | None
    how: Literal["paid", "shared", "cached"]
    found_in: AnsweredCall | None = None
    call_cost: Decimal | None = None


class EmbeddingCache(Protocol):
    """The read model of embedded texts."""

    async def lookup(self, request_hashes: Sequence[str], *, at_least: int = 0) -> Found:
        """The first vector paid for under each hash, in one round trip, in all that is stored up to `at_least`."""

    async def read_into(self, found: Found, rows: NDArray[np.float32]) -> None:
        """Copy the vectors that were found, bit for bit, into rows[found.places]."""


def one_dimension(found: Sequence[tuple[int, UUID]]) -> int:
    """The dimension that all calls' vectors have, 0 without any. Raises Conflict naming two calls that differ."""
    of = dict(found)
    if len(of) > 1:
        (one, first), (other, second) = list(of.items())[:2]
        raise Conflict(
            f"The model's vectors have {one} dimensions in call {first} and {other} in call {second}, so that it is "
            "not the same model any more: give the new one another name, or ask for `dimensions`",
            existing_id=str(first),
        )
    return next(iter(of), 0)
