"""Embedding texts and datasets."""

from collections.abc import Callable

from application.embed_texts import Embedded, EmbedTexts, TextsToEmbed
from application.gather_sweep import GatherSweep
from application.notebook import Context
from application.sweep_progress import Progress
from interfaces.study.moments import Moments
from interfaces.study.words import stage
from projections.embedding_cache import EMBEDDING_CACHE


class Embeddings:
    """Vectors of texts; what was embedded before is paid for once."""

    def __init__(self, embed_texts: EmbedTexts, gather_sweep: GatherSweep, moments: Moments) -> None:
        self._embed_texts = embed_texts
        self._gather_sweep = gather_sweep
        self._moments = moments

    async def of_texts(
        self, wanted: TextsToEmbed, context: Context, *, progress: Callable[[int, int], None] | None = None
    ) -> Embedded:
        """Embed texts, paying only for those not embedded before."""
        embedded = await self._embed_texts(wanted, context, progress=progress)
        return await self._shown(embedded)

    def request_hashes(self, wanted: TextsToEmbed) -> tuple[str, ...]:
        """What texts are embedded under, which is how their provenance is asked for. Raises Rejected."""
        return self._embed_texts.request_hashes(wanted)

    async def of_dataset(
        self,
        name: str,
        context: Context,
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> Embedded:
        """Embed a dataset's texts; its calls form a group of type embedding_batch."""
        _, embedded = await self._gather_sweep.embedded_dataset(
            name,
            context,
            provider=provider,
            model=model,
            dimensions=dimensions,
            progress=stage(progress, "embedding"),
        )
        return await self._shown(embedded)

    async def _shown(self, embedded: Embedded) -> Embedded:
        if embedded.position is not None:
            await self._moments.wait_until(embedded.position, EMBEDDING_CACHE.name)
        return embedded
