"""Bring together the vectors of a set of texts: those that the cache has, and those that calls bring, each once."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from application.find_vectors import AnsweredCall, EmbeddingCache, Found, Vector, one_dimension
from application.text_batches import Text
from domain.pricing import saved_by


class CollectVectors:
    """The texts of one command. Equal ones are one; arrays hold what is known of each, so that many cost little."""

    def __init__(self, texts: Sequence[str], request_hashes: Sequence[str]) -> None:
        self.request_hashes = tuple(request_hashes)
        text_of = dict(zip(self.request_hashes, texts, strict=True))
        self._keys = list(text_of)
        self._texts = list(text_of.values())
        self._place_of: NDArray[np.int64] | None = None  # of each text, where equal ones were left out
        if len(self._keys) < len(texts):
            number = {key: place for place, key in enumerate(self._keys)}
            self._place_of = np.array([number[key] for key in self.request_hashes], dtype=np.int64)
        self._found: Found | None = None
        self._rows = np.empty((0, 0), dtype=np.float32)
        self._brought: dict[int, Vector] = {}

    def __len__(self) -> int:
        """The number of different texts."""
        return len(self._keys)

    async def look_up(self, cache: EmbeddingCache) -> None:
        """Take what the cache has. Raises Conflict for vectors of different lengths."""
        self._found = await cache.lookup(self._keys)
        if self._found.places.size:
            self._rows = np.empty((len(self._keys), self._found.dimension()), dtype=np.float32)
            await cache.read_into(self._found, self._rows)

    def missing(self) -> list[Text]:
        """Those without a vector."""
        return [Text(self._keys[place], self._texts[place]) for place in np.flatnonzero(~self._known()).tolist()]

    def bring(self, vectors: dict[str, Vector]) -> None:
        """Take what calls brought, for all that was missing. Raises Conflict for vectors of different lengths."""
        if not vectors:
            return
        calls = [] if self._found is None else [(call.dimension, call.call_id) for call in self._found.calls]
        dimension = one_dimension([*calls, *((len(each.row), each.call_id) for each in vectors.values())])
        if not calls:
            self._rows = np.empty((len(self._keys), dimension), dtype=np.float32)
        for place, key in enumerate(self._keys):
            if key in vectors:
                self._brought[place] = vectors[key]
                self._rows[place] = vectors[key].row

    def vectors(self) -> NDArray[np.float32]:
        """(n_texts, d), in the order of the texts."""
        return self._rows if self._place_of is None else self._rows[self._place_of]

    def cached(self) -> NDArray[np.bool_]:
        """(n_texts,): whether no call was made for the text by this command."""
        cached = np.ones(len(self._keys), dtype=np.bool_)
        cached[[place for place, vector in self._brought.items() if vector.how == "paid"]] = False
        return cached if self._place_of is None else cached[self._place_of]

    def call_ids(self) -> tuple[UUID, ...]:
        """The call that paid for each text."""
        sources = np.empty(len(self._keys), dtype=object)
        if self._found is not None and self._found.places.size:
            calls = np.array([call.call_id for call in self._found.calls], dtype=object)
            sources[self._found.places] = calls[self._found.call_numbers]
        for place, vector in self._brought.items():
            sources[place] = vector.call_id
        return tuple(sources if self._place_of is None else sources[self._place_of])

    def hits(self) -> tuple[int, tuple[UUID, ...]]:
        """How many of the texts the cache had, and the calls that had paid for them."""
        served = self._known()
        served[[place for place, vector in self._brought.items() if vector.found_in is not None]] = True
        count = int((served if self._place_of is None else served[self._place_of]).sum())
        return count, tuple(call.call_id for call in self._given_again())

    def cost(self) -> Decimal | None:
        """USD that the calls which were made for these texts cost; None where it is unknown."""
        paid = {vector.call_id: vector.call_cost for vector in self._brought.values() if vector.how == "paid"}
        costs = [cost for cost in paid.values() if cost is not None]
        return sum(costs, Decimal(0)) if len(costs) == len(paid) else None

    def saved(self) -> Decimal | None:
        """USD that the texts which the cache had would have cost again, equal ones once; None where it is unknown."""
        return saved_by((call.cost, call.texts, count) for call, count in self._given_again().items())

    def positions(self) -> list[int | None]:
        """Where what calls brought is stored; None for what waits in the journal."""
        return [vector.position for vector in self._brought.values()]

    def places_of(self, keys: set[str]) -> list[int]:
        """Where these stand among the texts, in order, equal ones too."""
        return [place for place, key in enumerate(self.request_hashes) if key in keys]

    def _given_again(self) -> Counter[AnsweredCall]:
        """The calls that the cache had vectors of, and how many different texts each."""
        given: Counter[AnsweredCall] = Counter()
        if self._found is not None:
            counts = np.bincount(self._found.call_numbers, minlength=len(self._found.calls))
            given.update(dict(zip(self._found.calls, counts.tolist(), strict=True)))
        given.update(vector.found_in for vector in self._brought.values() if vector.found_in is not None)
        return given

    def _known(self) -> NDArray[np.bool_]:
        """(n_different,): whether the cache had it when it was looked up."""
        known = np.zeros(len(self._keys), dtype=np.bool_)
        if self._found is not None:
            known[self._found.places] = True
        return known
