"""Embed texts: known ones come from the cache, missing ones are sent in batches, each distinct text once."""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.call_provider import AttemptPolicy
from application.collect_vectors import CollectVectors
from application.find_vectors import EmbeddingCache
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context, Notebook
from application.ports import ProviderDirectory
from application.providers import EmbeddingsRequest, PreparedRequest, Provider
from application.send_texts import Sending, SendTexts, Sent
from domain.calls import CallServedFromCache
from domain.errors import ProviderFailed, Rejected
from domain.events import Metadata
from domain.groups import Member
from domain.request_identity import embedding_request_hashes, normalised_texts

MOST_NAMED = 20  # refused texts that an error names one by one

Progress = Callable[[int, int], None]
CheckDeployment = Callable[[Provider, PreparedRequest, Context], Awaitable[None]]


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
    cost: USD that the calls made for these texts cost; saved: that those which the cache had would have cost again
    """

    vectors: NDArray[np.float32]
    cached: NDArray[np.bool_]
    request_hashes: tuple[str, ...]
    call_ids: tuple[UUID, ...]
    provider: str
    endpoint: str
    model: str
    position: int | None
    cost: Decimal | None = None
    saved: Decimal | None = None
    dimensions: int | None = None  # that were asked for

    def __repr__(self) -> str:
        rows, length = self.vectors.shape
        cached = int(np.count_nonzero(self.cached))
        return f"<Embedded {rows} × {length} by {self.provider}/{self.model}: {cached} from the cache>"


class EmbedTexts:
    """Embeds; equal texts under equal circumstances are paid for once."""

    def __init__(
        self,
        notebook: Notebook,
        send_texts: SendTexts,
        providers: ProviderDirectory,
        cache: EmbeddingCache,
        groups: GroupCalls,
        policy: Callable[[], AttemptPolicy],
        check_deployment: CheckDeployment,
        software: Mapping[str, str],
    ) -> None:
        self._notebook = notebook
        self._send_texts = send_texts
        self._providers = providers
        self._cache = cache
        self._groups = groups
        self._policy = policy
        self._check_deployment = check_deployment
        self._software = dict(software)

    async def __call__(self, wanted: TextsToEmbed, context: Context, *, progress: Progress | None = None) -> Embedded:
        """Embed texts. What was answered before a failure is kept, and not paid for again.

        Raises Rejected naming an empty text, ProviderFailed naming the texts that were refused, Conflict where the
        model's vectors are of several lengths.
        """
        if not wanted.texts:
            raise Rejected("There are no texts to embed", fields=("texts",))
        if wanted.dimensions is not None and wanted.dimensions < 1:
            raise Rejected(f"dimensions must be at least 1, not {wanted.dimensions}", fields=("dimensions",))
        provider = self._providers.create(wanted.provider)
        texts = normalised_texts(wanted.texts)
        sample = _sample(provider, wanted, texts)
        vectors = CollectVectors(texts, _hashes(sample, wanted, texts))
        if wanted.group is not None:
            made_with = {**wanted.metadata, "software": self._software}
            await self._groups.ensure(wanted.group, context, metadata=made_with)
        # Read before anything is paid for: from then on the store may go away, and the vectors are still returned.
        await vectors.look_up(self._cache)
        await self._bring_missing(wanted, provider, sample, vectors, context, progress)
        position = await self._record(wanted, sample, vectors, context)
        return Embedded(
            vectors=vectors.vectors(),
            cached=vectors.cached(),
            request_hashes=vectors.request_hashes,
            call_ids=vectors.call_ids(),
            provider=sample.provider,
            endpoint=sample.endpoint,
            model=sample.model,
            position=position,
            cost=vectors.cost(),
            saved=vectors.saved(),
            dimensions=wanted.dimensions,
        )

    def request_hashes(self, wanted: TextsToEmbed) -> tuple[str, ...]:
        """What the texts are, or would be, embedded under; nothing is asked. Raises Rejected."""
        texts = normalised_texts(wanted.texts)
        return tuple(_hashes(_sample(self._providers.create(wanted.provider), wanted, texts), wanted, texts))

    async def _bring_missing(
        self,
        wanted: TextsToEmbed,
        provider: Provider,
        sample: PreparedRequest,
        vectors: CollectVectors,
        context: Context,
        progress: Progress | None,
    ) -> None:
        missing, total = vectors.missing(), len(vectors)

        def told(sent: int) -> None:
            if progress:
                progress(total - len(missing) + sent, total)

        told(0)
        if not missing:
            return
        await self._check_deployment(provider, sample, context)
        sending = Sending(
            provider=provider,
            model=sample.model,
            dimensions=wanted.dimensions,
            policy=self._policy(),
            metadata=wanted.metadata,
            context=context,
        )
        sent = await self._send_texts(sending, missing, told)
        if sent.failures:
            raise _failed(sent, vectors, sample)
        if sent.trouble is not None:
            raise sent.trouble
        vectors.bring(sent.vectors)

    async def _record(
        self, wanted: TextsToEmbed, sample: PreparedRequest, vectors: CollectVectors, context: Context
    ) -> int | None:
        positions = vectors.positions()
        hits, sources = vectors.hits()
        if hits:
            served = CallServedFromCache(
                modality="embedding",
                provider=sample.provider,
                model=sample.model,
                hits=hits,
                call_ids=sources,
                saved=vectors.saved(),
                metadata=wanted.metadata,
            )
            entry = self._notebook.entry(context, self._notebook.ids.new(), 1, served)
            positions.append(await self._notebook.write_or_keep(entry))
        if wanted.group is not None:
            members = [
                Member(call_id=call_id, role=wanted.group.role or "output", position=place)
                for place, call_id in enumerate(dict.fromkeys(vectors.call_ids()))
            ]
            positions.append(await self._groups.add(wanted.group.group_id, members, context))
        stored = [position for position in positions if position is not None]
        return max(stored, default=None) if len(stored) == len(positions) else None


def _failed(sent: Sent, vectors: CollectVectors, sample: PreparedRequest) -> ProviderFailed:
    """One error for all texts that got no vector: it names them, and the calls that were refused."""
    places = vectors.places_of({*sent.failures})
    first = sent.failures[vectors.request_hashes[places[0]]]
    calls = dict.fromkeys(sent.failures[vectors.request_hashes[place]].call_id for place in places)
    named = ", ".join(map(str, places[:MOST_NAMED])) + (" …" if len(places) > MOST_NAMED else "")
    rest = "what was answered is stored, and costs nothing when you ask again"
    if sent.trouble is not None:
        rest = f"none of the others was tried after that; {rest}"
    return ProviderFailed(
        f"{sample.provider} gave no vector for {len(places)} of {len(vectors.request_hashes)} texts, "
        f"with index {named}: {str(first).rstrip('.')}. Calls: {', '.join(list(calls)[:MOST_NAMED])}; {rest}",
        call_id=first.call_id,
        kind=first.kind,
        http_status=first.http_status,
        fields=tuple(f"texts[{place}]" for place in places[:MOST_NAMED]),
    )


def _sample(provider: Provider, wanted: TextsToEmbed, texts: list[str]) -> PreparedRequest:
    """What a request looks like: the provider, endpoint and model that it would go to."""
    return provider.prepare_embeddings(
        EmbeddingsRequest(model=wanted.model, texts=(texts[0],), dimensions=wanted.dimensions)
    )


def _hashes(sample: PreparedRequest, wanted: TextsToEmbed, texts: list[str]) -> list[str]:
    return embedding_request_hashes(
        texts, provider=sample.provider, endpoint=sample.endpoint, model=sample.model, dimensions=wanted.dimensions
    )
