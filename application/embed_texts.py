"""Embed texts: known ones come from the cache, missing ones are sent in batches, each distinct text once."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.call_provider import AttemptPolicy, CallIntent
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context, Notebook
from application.ports import ProviderDirectory
from application.providers import EmbeddingsRequest, PreparedRequest, Provider
from application.share_calls import Given, ShareCalls
from domain.calls import CallServedFromCache
from domain.errors import Rejected
from domain.events import Metadata
from domain.groups import Member
from domain.identity import sha256_hex
from domain.request_identity import embedding_request_hash, normalised_text

TEXTS_PER_REQUEST = 256
CHARACTERS_PER_REQUEST = 200_000
REQUESTS_IN_FLIGHT = 4

Progress = Callable[[int, int], None]


class CachedVector(Struct, frozen=True):
    """Where an answered text's vector lies."""

    call_id: UUID
    version: int
    input_index: int
    dimension: int


class EmbeddingCache(Protocol):
    """The read model of embedded texts."""

    async def lookup(self, request_hashes: Sequence[str]) -> dict[str, CachedVector]:
        """The first vector paid for under each hash, in one round trip; unknown ones are left out."""

    async def read_vectors(self, cached: Sequence[CachedVector]) -> NDArray[np.float32]:
        """(n, d) float32, in order."""


class TextsToEmbed(Struct, frozen=True, kw_only=True):
    """What to embed and with what."""

    texts: tuple[str, ...]
    provider: str | None = None
    model: str | None = None
    dimensions: int | None = None
    group: GroupPlace | None = None
    metadata: Metadata = {}


class Embedded(Struct, frozen=True, kw_only=True):
    """Vectors in the order of the texts.

    vectors: (n_texts, n_dimensions) float32, bit for bit as the provider sent them
    cached: (n_texts,) bool; True where no provider was called for the text
    """

    vectors: NDArray[np.float32]
    cached: NDArray[np.bool_]
    request_hashes: tuple[str, ...]
    call_ids: tuple[UUID, ...]
    provider: str
    endpoint: str
    model: str
    position: int | None


class EmbedTexts:
    """Embeds; equal texts under equal circumstances are paid for once."""

    def __init__(
        self,
        notebook: Notebook,
        share_calls: ShareCalls,
        providers: ProviderDirectory,
        cache: EmbeddingCache,
        groups: GroupCalls,
        policy: Callable[[], AttemptPolicy],
    ) -> None:
        self._notebook = notebook
        self._share_calls = share_calls
        self._providers = providers
        self._cache = cache
        self._groups = groups
        self._policy = policy

    async def __call__(self, wanted: TextsToEmbed, context: Context, *, progress: Progress | None = None) -> Embedded:
        """Embed texts. Raises Rejected naming an empty text, ProviderFailed; what was answered before is kept."""
        if not wanted.texts:
            raise Rejected("There are no texts to embed", fields=("texts",))
        provider = self._providers.create(wanted.provider)
        texts = [normalised_text(text, index=index) for index, text in enumerate(wanted.texts)]
        sample = provider.prepare_embeddings(_request(wanted, texts[:1]))
        hashes = [
            embedding_request_hash(
                provider=sample.provider,
                endpoint=sample.endpoint,
                model=sample.model,
                text=text,
                dimensions=wanted.dimensions,
            )
            for text in texts
        ]
        if wanted.group is not None:
            await self._groups.ensure(wanted.group, context, metadata=wanted.metadata)
        known = await self._cache.lookup(list(dict.fromkeys(hashes)))
        # Read before anything is paid for: from then on the store may go away, and the vectors are still returned.
        rows = dict(zip(known, await self._cache.read_vectors(list(known.values())), strict=True)) if known else {}
        missing = {key: text for key, text in zip(hashes, texts, strict=True) if key not in known}
        if progress:
            progress(len(texts) - len(missing), len(texts))
        paid = await self._embed_missing(wanted, provider, missing, context, len(texts) - len(missing), progress)
        position = await self._record(wanted, sample, known, hashes, paid, context)
        return self._assemble(hashes, known, rows, paid, sample, position)

    async def _embed_missing(
        self,
        wanted: TextsToEmbed,
        provider: Provider,
        missing: dict[str, str],
        context: Context,
        done_before: int,
        progress: Progress | None,
    ) -> dict[str, tuple[Given, int]]:
        places = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        found: dict[str, tuple[Given, int]] = {}

        async def embed(batch: list[tuple[str, str]]) -> None:
            async with places:
                prepared = provider.prepare_embeddings(_request(wanted, [text for _, text in batch]))
                intent = CallIntent(
                    prepared=prepared,
                    modality="embedding",
                    request_hash=sha256_hex("".join(key for key, _ in batch).encode()),
                    policy=self._policy(),
                    input_hashes=b"".join(bytes.fromhex(key) for key, _ in batch),
                    dimensions=wanted.dimensions,
                    metadata=wanted.metadata,
                )
                done = await self._share_calls(provider, intent, context)
            found.update({key: (done, index) for index, (key, _) in enumerate(batch)})
            if progress:
                progress(done_before + len(found), done_before + len(missing))

        # Every batch is let finish before a failure is raised: what other batches paid for is kept.
        results = await asyncio.gather(*(embed(batch) for batch in _batches(missing)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return found

    async def _record(
        self,
        wanted: TextsToEmbed,
        sample: PreparedRequest,
        known: dict[str, CachedVector],
        hashes: list[str],
        paid: dict[str, tuple[Given, int]],
        context: Context,
    ) -> int | None:
        positions: list[int | None] = [done.position for done, _ in paid.values()]
        if known:
            served = CallServedFromCache(
                modality="embedding",
                provider=sample.provider,
                model=sample.model,
                hits=sum(key in known for key in hashes),
                call_ids=tuple(dict.fromkeys(known[key].call_id for key in hashes if key in known)),
            )
            entry = self._notebook.entry(context, self._notebook.ids.new(), 1, served)
            positions.append(await self._notebook.write_or_keep(entry))
        if wanted.group is not None:
            call_ids = dict.fromkeys(
                paid[key][0].source.call_id if key in paid else known[key].call_id for key in hashes
            )
            members = [
                Member(call_id=call_id, role=wanted.group.role or "output", position=place)
                for place, call_id in enumerate(call_ids)
            ]
            positions.append(await self._groups.add(wanted.group.group_id, members, context))
        stored = [position for position in positions if position is not None]
        return max(stored, default=None) if len(stored) == len(positions) else None

    def _assemble(
        self,
        hashes: list[str],
        known: dict[str, CachedVector],
        rows: dict[str, NDArray[np.float32]],
        paid: dict[str, tuple[Given, int]],
        sample: PreparedRequest,
        position: int | None,
    ) -> Embedded:
        for key, (done, index) in paid.items():
            if done.source.answer.vectors is not None:
                rows[key] = done.source.answer.vectors[index]
        return Embedded(
            vectors=np.stack([rows[key] for key in hashes]),
            cached=np.array([key in known or paid[key][0].shared for key in hashes]),
            request_hashes=tuple(hashes),
            call_ids=tuple(paid[key][0].source.call_id if key in paid else known[key].call_id for key in hashes),
            provider=sample.provider,
            endpoint=sample.endpoint,
            model=sample.model,
            position=position,
        )


def _request(wanted: TextsToEmbed, texts: list[str]) -> EmbeddingsRequest:
    return EmbeddingsRequest(model=wanted.model, texts=tuple(texts), dimensions=wanted.dimensions)


def _batches(missing: dict[str, str]) -> list[list[tuple[str, str]]]:
    """Cut distinct texts into requests bounded by count and by characters."""
    batches: list[list[tuple[str, str]]] = []
    size = 0
    for key, text in missing.items():
        if not batches or len(batches[-1]) >= TEXTS_PER_REQUEST or size + len(text) > CHARACTERS_PER_REQUEST:
            batches.append([])
            size = 0
        batches[-1].append((key, text))
        size += len(text)
    return batches
