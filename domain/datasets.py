"""Datasets and vectors made elsewhere, as facts, and what a sample of a dataset is.

Both are identified by their content; a sample by its parent and by how it was drawn.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np
from msgspec import Struct

from domain.errors import Rejected
from domain.events import Fact, Metadata, stored_as
from domain.identity import canonical_json, content_id

DATASET_GROUP = "dataset"  # the type of the groups that give datasets their names
NAMES_ITS_DATASET = "dataset_id"  # the key in the metadata of such a group
LARGEST_SEED = 2**63 - 1


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """How a dataset was drawn from another: the rows whose columns hold `where`, and of those `rows` by chance."""

    rows: int | None = None
    seed: int | None = None
    where: dict[str, str] = {}


@stored_as("dataset.imported.v1")
class DatasetImported(Fact, frozen=True, kw_only=True):
    """Texts, with labels where there are some, were brought in. The rows lie in the artifact, as Parquet.

    A sample has a parent, and says how it was drawn from it.
    """

    content_sha256: str
    row_count: int
    columns: tuple[str, ...]
    text_column: str
    artifact_id: UUID
    label_column: str | None = None
    source_name: str = ""  # the file's name, without its folder
    skipped_rows: int = 0  # empty texts, left out
    metadata: Metadata = {}
    parent_dataset_id: UUID | None = None
    sampling: Sampling | None = None


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


def sample_id_of(parent_dataset_id: UUID, sampling: Sampling) -> UUID:
    """The id of the one sample of a dataset that is drawn like this."""
    return content_id("dataset sample", str(parent_dataset_id), canonical_json(sampling).decode())


def vectors_id_of(content_sha256: str) -> UUID:
    """The id of the one set of imported vectors with this content."""
    return content_id("vectors", content_sha256)


def sampling_of(rows: int | None, seed: int | None, where: Mapping[str, str]) -> Sampling:
    """How to draw a sample; without `rows` there is no chance, and so no seed. Raises Rejected."""
    if rows is None and not where:
        raise Rejected("Say which rows: how many, or which value a column has", fields=("rows", "where"))
    if rows is not None and rows < 1:
        raise Rejected(f"A sample has at least one row, not {rows}", fields=("rows",))
    if seed is not None and not 0 <= seed <= LARGEST_SEED:
        raise Rejected(f"A seed is 0 to {LARGEST_SEED}, not {seed}", fields=("seed",))
    return Sampling(rows=rows, seed=None if rows is None else seed or 0, where=dict(where))


def sampled_rows(columns: Mapping[str, Sequence[str | None]], sampling: Sampling) -> list[int]:
    """The rows of a sample, in their order: `where` first, then `rows` of what is left, each at most once.

    columns: by name, all of the same length; a value that is missing counts as the empty text.
    Chance: numpy's Generator(PCG64(seed)).choice without replacement, sorted. Raises Rejected for an unknown column,
    and when there are fewer rows than asked for.
    """
    for column in sampling.where:
        if column not in columns:
            raise Rejected(f"There is no column {column!r}; the columns are {', '.join(columns)}", fields=("where",))
    count = len(next(iter(columns.values()), ()))
    fitting = [
        row
        for row in range(count)
        if all((columns[column][row] or "") == value for column, value in sampling.where.items())
    ]
    asked = len(fitting) if sampling.rows is None else sampling.rows
    if not fitting or asked > len(fitting):
        raise Rejected(
            f"{asked or 'Some'} rows are wanted, and there are {len(fitting)}"
            + (
                f" where {', '.join(f'{column} = {value!r}' for column, value in sampling.where.items())}"
                if sampling.where
                else ""
            ),
            fields=("rows",) if fitting else ("where",),
        )
    if sampling.rows is None:
        return fitting
    chance = np.random.Generator(np.random.PCG64(sampling.seed or 0))
    return [fitting[place] for place in sorted(chance.choice(len(fitting), sampling.rows, replace=False).tolist())]


def texts_by(
    texts: Sequence[str | None], values: Sequence[str | None], *, most: int | None = None
) -> dict[str, tuple[str, ...]]:
    """The texts with each value, in their order; values as they first come, rows without one under "".

    Empty texts are left out. most: of one value, so many evenly spread over all. Raises Rejected.
    """
    if most is not None and most < 1:
        raise Rejected(f"At least 1 text of each value must be taken, not {most}", fields=("most",))
    found: dict[str, list[str]] = {}
    for text, value in zip(texts, values, strict=True):
        if text and text.strip():
            found.setdefault(value or "", []).append(text)
    return {value: tuple(_spread(own, most)) for value, own in found.items()}


def _spread(texts: list[str], most: int | None) -> list[str]:
    if most is None or len(texts) <= most:
        return texts
    return [texts[place * len(texts) // most] for place in range(most)]
