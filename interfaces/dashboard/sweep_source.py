"""What a sweep is made of, as the form offers it: datasets, and vectors that were made elsewhere."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.errors import NotFound, Rejected
from infrastructure.table_files import ColumnarFiles
from interfaces.dashboard.page import Page
from interfaces.study import Study
from interfaces.study.words import Json
from projections.paging import Paging

MOST_DATASETS = 1000
MOST_VECTORS = 50
BESIDE_VECTORS = "texts of vectors "  # begins the name of texts that came with vectors; the vectors' hash follows


@dataclass(frozen=True)
class Vectors:
    """Vectors that were brought in.

    name: as it is chosen; artifact: the file of the matrix; texts: the name of the dataset that came with them
    """

    name: str
    rows: int
    artifact: Json
    texts: str | None


@dataclass(frozen=True)
class Offered:
    """All that can be clustered, the newest first, and texts that came with vectors last."""

    datasets: tuple[Json, ...]
    vectors: tuple[Vectors, ...]

    def texts_for(self, vectors: Vectors) -> list[str]:
        """The datasets that have a text for each of these vectors; those that came with them are first."""
        fit = [each["name"] for each in self.datasets if each["row_count"] == vectors.rows]
        return sorted(fit, key=lambda name: name != vectors.texts)


async def offered(page: Page) -> Offered:
    """What there is to cluster."""
    datasets = (await page.study.datasets.list(page=Paging(MOST_DATASETS)))["items"]
    kept = (await page.study.artifacts.list(page=Paging(MOST_VECTORS), artifact_type="vectors"))["items"]
    brought = await asyncio.gather(*(_brought(page.study, artifact, datasets) for artifact in kept))
    datasets.sort(key=lambda each: each["name"].startswith(BESIDE_VECTORS))
    return Offered(tuple(datasets), tuple(each for each in brought if each is not None))


async def wanted_vectors(study: Study, vectors: Vectors, texts: str | None) -> dict[str, Any]:
    """The matrix, and the texts and labels of a dataset of as many rows, as a sweep is asked for. Raises NotFound."""
    files = ColumnarFiles()
    matrix = await asyncio.to_thread(files.from_npy, await study.artifacts.content(vectors.artifact))
    if texts is None:
        return {"vectors": matrix}
    dataset = await study.datasets.get(texts)
    artifact = await study.artifacts.get(dataset["artifact_id"])
    table = await asyncio.to_thread(files.from_parquet, await study.artifacts.content(artifact))
    label_column = dataset["label_column"]
    return {
        "vectors": matrix,
        "texts": _column(table.columns[dataset["text_column"]], texts),
        "labels": None if label_column is None else _column(table.columns[label_column], texts),
    }


async def _brought(study: Study, artifact: Json, datasets: Sequence[Json]) -> Vectors | None:
    vectors_id = artifact["name"].partition("/")[0]
    try:
        found = await study.provenance.of("vectors", vectors_id, depth=1, few=1)
    except (NotFound, Rejected):  # a file of this type that somebody kept in a group of their own
        return None
    facts = found["nodes"][0]["facts"]
    prefix = f"{BESIDE_VECTORS}{facts['content_sha256'][:12]} "
    beside = next((each["name"] for each in datasets if each["name"].startswith(prefix)), None)
    rows, length = facts["row_count"], facts["dimension"]
    name = f"{facts.get('source_name') or 'vectors'}, {rows:,} × {length:,} ({vectors_id[:8]})"
    return Vectors(name, rows, artifact, beside)


def _column(values: Sequence[str | None], name: str) -> tuple[str, ...]:
    if any(value is None for value in values):
        raise Rejected(f"Dataset {name!r} has rows without a text or a label, which vectors need", fields=("texts",))
    return tuple(value or "" for value in values)
