"""The texts nearest to a vector by cosine, found block by block: exact, and in bounded memory."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from domain.errors import Rejected

MOST_RESULTS = 1000

Vectors = NDArray[np.float32]

# What is known of each vector beside its numbers. `text` is the hash of what was embedded, all zero where unknown.
PLACE: Any = np.dtype([("position", "<i8"), ("input_index", "<i4"), ("call", "V16"), ("text", "V32")])

# Float32 products are only a sieve; what may be among the nearest is measured again in float64.
SIEVE_MARGIN = 1e-4
SHORTEST_SIEVED = 1e-15


class Near(NamedTuple):
    """One of the nearest: its cosine similarity, −1 to 1, and where its vector lies."""

    similarity: float
    position: int
    input_index: int
    call: bytes
    text: bytes


class NearestTexts:
    """The nearest of all vectors that were offered, in any blocks and any order.

    Equal similarities are ordered by position, then by input_index. A text that was embedded more than once counts
    once, by its nearest vector. Vectors of length zero, or not finite, have no direction and are near nothing.
    """

    def __init__(self, query: NDArray[Any], limit: int) -> None:
        """query: (d,) real numbers. Raises Rejected for one without direction, and for a limit out of bounds."""
        if not 1 <= limit <= MOST_RESULTS:
            raise Rejected(f"limit must be 1 to {MOST_RESULTS}, not {limit}", fields=("limit",))
        row = np.asarray(query, dtype=np.float64)
        if row.ndim != 1:
            raise Rejected(f"A vector is a row of numbers, not of shape {row.shape}", fields=("vector",))
        length = np.sqrt((row * row).sum())
        if not 0 < length < np.inf:
            raise Rejected(
                "The vector is zero or not finite; it has no direction, so that nothing is near it", fields=("vector",)
            )
        self.query: NDArray[np.float64] = row / length
        self.limit = limit
        self._similarities = np.empty(0)
        self._places = np.empty(0, dtype=PLACE)

    @property
    def worst(self) -> float:
        """The similarity that a further text must reach; −infinity while there is room."""
        return float(self._similarities[-1]) if len(self._similarities) == self.limit else -np.inf

    def offer(self, vectors: Vectors, places: NDArray[Any]) -> None:
        """Take what is near out of a block. vectors: (n, d) float32; places: (n,) of PLACE."""
        if self.worst > -np.inf:
            passed = self._sieve(vectors)
            vectors, places = vectors[passed], places[passed]
        similarities = cosines(vectors, self.query)
        directed = np.isfinite(similarities)
        self._similarities = np.concatenate([self._similarities, similarities[directed]])
        self._places = np.concatenate([self._places, places[directed]])
        self._keep_nearest()

    def found(self) -> list[Near]:
        """The nearest, at most `limit`, the very nearest first."""
        return [
            Near(float(similarity), int(place["position"]), int(place["input_index"]), bytes(place["call"]), text)
            for similarity, place in zip(self._similarities, self._places, strict=True)
            for text in [bytes(place["text"])]
        ]

    def _sieve(self, vectors: Vectors) -> NDArray[np.intp]:
        with np.errstate(all="ignore"):
            lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
            rough = (vectors @ self.query.astype(np.float32)) / lengths
        # What is too long or too short for float32 to tell passes, to be measured.
        untold = ~np.isfinite(lengths) | (lengths < SHORTEST_SIEVED)
        return np.flatnonzero(untold | (rough >= self.worst - SIEVE_MARGIN))

    def _keep_nearest(self) -> None:
        order = np.lexsort((self._places["input_index"], self._places["position"], -self._similarities))
        kept: dict[bytes, int] = {}
        for row in order.tolist():
            kept.setdefault(_identity(self._places[row]), row)
            if len(kept) == self.limit:
                break
        rows = list(kept.values())
        self._similarities, self._places = self._similarities[rows], self._places[rows]


def _identity(place: Any) -> bytes:
    """The text's hash; of a text that has none, where its vector lies."""
    text = bytes(place["text"])
    return text if any(text) else bytes(place["call"]) + int(place["input_index"]).to_bytes(4)


def cosines(vectors: Vectors, query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine similarity of each row to a query of length 1, to 12 decimals; NaN for rows without direction.

    Rounded, so that vectors of one direction and different lengths are equally near.

    vectors: (n, d) float32. A row's result doesn't depend on the rows beside it. Returns (n,) float64.
    """
    rows = vectors.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        lengths = np.sqrt((rows * rows).sum(axis=1))
        found: NDArray[np.float64] = (rows * query).sum(axis=1) / lengths
    return np.clip(np.round(found, 12), -1.0, 1.0)
