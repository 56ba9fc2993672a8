"""Find the embedded texts that are most similar to a text, or to a vector."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from application.embed_texts import EmbedTexts, TextsToEmbed
from application.notebook import Context
from application.stored_vectors import FOR_SEARCH, StoredVectors, VectorFilter, VectorSearch
from domain.errors import Rejected
from domain.nearest import MOST_RESULTS


class SimilarTo(Struct, frozen=True, kw_only=True):
    """What to compare with what. Of text and vector one is given.

    wanted: which vectors to compare with; a model must be named where there are several
    """

    text: str | None = None
    vector: Sequence[float] | None = None
    wanted: VectorFilter = VectorFilter()
    limit: int = 10


class FindSimilar:
    """Embeds what is compared with the model that made the others, unless its vector is given."""

    def __init__(self, embed_texts: EmbedTexts, stored: StoredVectors, search: VectorSearch) -> None:
        self._embed_texts = embed_texts
        self._stored = stored
        self._search = search

    async def __call__(self, asked: SimilarTo, context: Context, *, as_of: int | None = None) -> dict[str, Any]:
        """The most similar texts, each once. The text is embedded, and so recorded, as any other, and paid for once.

        Raises Rejected, NotFound where nothing was embedded, ProviderFailed.
        """
        if (asked.text is None) == (asked.vector is None):
            raise Rejected("Give a text or a vector to compare with, one of the two", fields=("text", "vector"))
        if not 1 <= asked.limit <= MOST_RESULTS:
            raise Rejected(f"limit must be 1 to {MOST_RESULTS}, not {asked.limit}", fields=("limit",))
        if asked.vector is not None:
            return await self._search.similar(asked.vector, asked.wanted, limit=asked.limit, as_of=as_of)
        # Settled before the text is embedded: it must not make the first vector of its own model.
        space = await self._stored.space(asked.wanted, as_of=as_of)
        embedded = await self._embed_texts(
            TextsToEmbed(
                texts=(str(asked.text),),
                provider=space.provider,
                model=space.model,
                dimensions=space.dimensions,
                metadata=FOR_SEARCH,
            ),
            context,
        )
        wanted = replace(asked.wanted, provider=space.provider, model=space.model)
        return await self._search.similar(embedded.vectors[0], wanted, limit=asked.limit, as_of=as_of)
