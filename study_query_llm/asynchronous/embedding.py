"""Texts as vectors: embedded, searched, exported, or made elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from application.embed_texts import Embedded, TextsToEmbed
from application.export_rows import Exported
from application.find_similar import SimilarTo
from application.group_calls import group_place
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.study.vectors import filter_of
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.results import Rows


class Embedding(Opened):
    """Texts as vectors: embedded, searched, exported, or made elsewhere."""

    async def embed(
        self,
        texts: Iterable[str],
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        group: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Embedded:
        """Embed texts, paying only for those not embedded before; `.vectors` is (n, d) float32 in their order.

        group: "TYPE/NAME" of the group that gets the calls, such as "embedding_batch/reviews"
        metadata: is kept with each call and with the group, such as {"seed": 7}
        """
        wanted = TextsToEmbed(
            texts=texts if isinstance(texts, str) else tuple(texts),  # type: ignore[arg-type]  # which is told
            provider=provider,
            model=model,
            dimensions=dimensions,
            group=group_place(group),
            metadata=dict(metadata or {}),
        )
        return await self._wired.embeddings.of_texts(wanted, self._wired.context())

    async def request_hash(
        self, text: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> str:
        """What a text is embedded under: ask for the provenance of ("text", this). Nothing is asked of the provider."""
        wanted = TextsToEmbed(texts=(text,), provider=provider, model=model, dimensions=dimensions)
        return self._wired.embeddings.request_hashes(wanted)[0]

    async def similar(
        self,
        to: "str | Sequence[float] | NDArray[np.float32]",
        *,
        limit: int = 10,
        as_of: AsOf | None = None,
        **filters: Any,
    ) -> Rows:
        """The embedded texts most similar to a text or a vector, the most similar first, each distinct text once.

        filters: provider, model, dimensions, group ("TYPE/NAME"), since, until; a model where there are several
        """
        given: dict[str, Any] = {"text": to} if isinstance(to, str) else {"vector": np.asarray(to).tolist()}
        asked = SimilarTo(**given, wanted=filter_of(**filters), limit=limit)
        return Rows((await self._wired.vectors.similar(asked, self._wired.context(), Moment(as_of)))["items"])

    async def vectors(
        self, dataset: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """(n_texts, d) float32 of an embedded dataset, in the order of its texts. Raises NotFound; embeds nothing."""
        return await self._wired.vectors.of_dataset(dataset, provider=provider, model=model, dimensions=dimensions)

    async def export_embeddings(
        self, out: str | Path, *, file_format: str = "parquet", as_of: AsOf | None = None, **filters: Any
    ) -> Exported:
        """Write the vectors of one model to a file: the same as `export("embeddings", …)`.

        filters: as those of `similar`
        """
        export = await self._wired.exports.embeddings(file_format, filter_of(**filters), Moment(as_of))
        return await self._wired.exports.to_file(export, Path(out))

    async def import_vectors(
        self,
        vectors: NDArray[np.float32],
        *,
        texts: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        source: str = "",
    ) -> Json:
        """Record vectors made elsewhere, (n, d), and the texts that they are of; `source` says where they are from."""
        return await self._wired.vectors.add(
            np.asarray(vectors),
            self._wired.context(),
            texts=None if texts is None else tuple(texts),
            labels=None if labels is None else tuple(labels),
            source_name=source,
        )
