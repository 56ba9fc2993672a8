"""The vectors of a dataset's texts as one array, from what was embedded; no provider is called."""

import numpy as np
from numpy.typing import NDArray

from application.find_vectors import EmbeddingCache
from application.import_dataset import ImportDataset
from application.ports import ProviderDirectory
from application.providers import EmbeddingsRequest
from domain.errors import NotFound
from domain.request_identity import embedding_request_hashes, normalised_texts


class ReadVectors:
    """Reads; what is missing is told, not embedded."""

    def __init__(self, datasets: ImportDataset, providers: ProviderDirectory, cache: EmbeddingCache) -> None:
        self._datasets = datasets
        self._providers = providers
        self._cache = cache

    async def __call__(
        self, name: str, *, provider: str | None = None, model: str | None = None, dimensions: int | None = None
    ) -> NDArray[np.float32]:
        """(n_texts, d) float32 in the order of the dataset's texts, bit for bit as the provider sent them.

        Raises NotFound for a dataset that isn't there, and for one of which some texts were never embedded.
        """
        dataset = await self._datasets.load(name)
        texts = normalised_texts(dataset.texts)
        request = EmbeddingsRequest(model=model, texts=(texts[0],), dimensions=dimensions)
        sample = self._providers.create(provider).prepare_embeddings(request)
        hashes = embedding_request_hashes(
            texts, provider=sample.provider, endpoint=sample.endpoint, model=sample.model, dimensions=dimensions
        )
        found = await self._cache.lookup(hashes)
        if (missing := len(hashes) - len(found.places)) > 0:
            raise NotFound(
                f"{missing} of {len(hashes)} texts have not been embedded; `study embed {name}` embeds those that are "
                "missing"
            )
        rows = np.empty((len(hashes), found.dimension()), dtype=np.float32)
        await self._cache.read_into(found, rows)
        return rows
