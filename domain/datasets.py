"""Datasets and vectors made elsewhere, as facts. Both are identified by their content."""

from uuid import UUID

from domain.events import Fact, Metadata, stored_as
from domain.identity import content_id


@stored_as("dataset.imported.v1")
class DatasetImported(Fact, frozen=True, kw_only=True):
    """Texts, with labels where there are some, were brought in. The rows lie in the artifact, as Parquet."""

    content_sha256: str
    row_count: int
    columns: tuple[str, ...]
    text_column: str
    artifact_id: UUID
    label_column: str | None = None
    source_name: str = ""  # the file's name, without its folder
    skipped_rows: int = 0  # empty texts, left out
    metadata: Metadata = {}


@stored_as("vectors.imported.v1")
class VectorsImported(Fact, frozen=True, kw_only=True):
    """Vectors that were made elsewhere were brought in; they lie in the artifact, as NPY."""

    content_sha256: str
    row_count: int
    dimension: int
    artifact_id: UUID
    source_name: str = ""
    metadata: Metadata = {}


def dataset_id_of(content_sha256: str) -> UUID:
    """The id of the one dataset with this content."""
    return content_id("dataset", content_sha256)


def vectors_id_of(content_sha256: str) -> UUID:
    """The id of the one set of imported vectors with this content."""
    return content_id("vectors", content_sha256)
