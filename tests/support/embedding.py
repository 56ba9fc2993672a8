"""The use case that embeds, wired over a list store as the composition wires it over the real one."""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from application.call_provider import AttemptPolicy, CallProvider
from application.embed_texts import EmbedTexts
from application.find_vectors import AnsweredCall, Found
from application.group_calls import GroupCalls
from application.notebook import Context, Notebook
from application.providers import PreparedRequest, Provider
from application.send_texts import SendTexts
from application.share_texts import SharedTexts
from application.text_batches import TextBatches
from domain.calls import CallAnswered, CallRequested
from tests.support.given_when_then import ListStore
from tests.support.scripted_provider import Directory, ScriptedProvider


async def there_are_all(_provider: Provider, _prepared: PreparedRequest, _context: Context) -> None:
    """No deployment is looked at first."""


class ReadBackCache:
    """The port EmbeddingCache, read straight from the events: slow and obvious.

    lag: events that it does not show yet
    """

    def __init__(self, store: ListStore, *, lag: int = 0) -> None:
        self.store = store
        self.lag = lag

    async def lookup(self, request_hashes: Sequence[str], *, at_least: int = 0) -> Found:
        position = max(len(self.store.events) - self.lag, at_least, 0)
        requested = {e.stream_id: e.fact for e in self.store.events if isinstance(e.fact, CallRequested)}
        calls: list[AnsweredCall] = []
        first: dict[int, tuple[int, int]] = {}
        for event in self.store.events[:position]:
            if isinstance(event.fact, CallAnswered) and event.fact.vectors is not None:
                block = event.fact.vectors
                call = AnsweredCall(event.stream_id, event.version, block.dimension, block.count, event.fact.cost)
                hashes = requested[event.stream_id].input_hashes
                for index in range(len(hashes) // 32):
                    key = hashes[32 * index : 32 * index + 32].hex()
                    if key in request_hashes and (place := request_hashes.index(key)) not in first:
                        calls += [] if call in calls else [call]
                        first[place] = (calls.index(call), index)
        places = sorted(first)
        return Found(
            position=position,
            calls=tuple(calls),
            places=np.array(places, dtype=np.int64),
            call_numbers=np.array([first[place][0] for place in places], dtype=np.int64),
            input_indexes=np.array([first[place][1] for place in places], dtype=np.int64),
        )

    async def read_into(self, found: Found, rows: NDArray[np.float32]) -> None:
        for place, number, index in zip(found.places, found.call_numbers, found.input_indexes, strict=True):
            call = found.calls[number]
            payload = self.store.payloads[call.call_id, call.version, "response"]
            rows[place] = np.frombuffer(payload.vectors or b"", dtype="<f4").reshape(-1, call.dimension)[index]


def embed_texts(book: Notebook, store: ListStore, provider: ScriptedProvider) -> EmbedTexts:
    """Embeds with this provider."""
    cache = ReadBackCache(store)
    calls = CallProvider(book, chance=random.Random(0))
    return EmbedTexts(
        book,
        SendTexts(calls, SharedTexts(book, store), cache, store, book.ids.new, TextBatches()),
        Directory(provider),
        cache,
        GroupCalls(book),
        lambda: AttemptPolicy(attempts=1),
        there_are_all,
        {"numpy": "2"},
    )
