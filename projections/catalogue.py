"""What was brought in and kept: datasets, vectors made elsewhere and artifacts, each one row for ever."""

from collections.abc import Sequence
from typing import Any

from domain.artifacts import ArtifactKept
from domain.datasets import DatasetImported, VectorsImported
from domain.events import RecordedEvent
from projections.read_model import Change, Insert, ReadModel, Table, View

DATASETS = Table(
    name="datasets",
    columns={
        "dataset_id": "uuid NOT NULL",
        "content_sha256": "text NOT NULL",
        "row_count": "bigint NOT NULL",
        "columns": "jsonb NOT NULL",
        "text_column": "text NOT NULL",
        "label_column": "text",
        "artifact_id": "uuid NOT NULL",
        "source_name": "text NOT NULL",
        "skipped_rows": "bigint NOT NULL",
        "metadata": "jsonb NOT NULL",
        "parent_dataset_id": "uuid",
        "sampling": "jsonb",
        "imported_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("dataset_id",),
    indexes=("(parent_dataset_id) WHERE parent_dataset_id IS NOT NULL",),
)

VECTORS_IMPORTS = Table(
    name="vectors_imports",
    columns={
        "vectors_id": "uuid NOT NULL",
        "content_sha256": "text NOT NULL",
        "row_count": "bigint NOT NULL",
        "dimension": "int NOT NULL",
        "artifact_id": "uuid NOT NULL",
        "source_name": "text NOT NULL",
        "metadata": "jsonb NOT NULL",
        "imported_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("vectors_id",),
)

ARTIFACTS = Table(
    name="artifacts",
    columns={
        "artifact_id": "uuid NOT NULL",
        "name": "text NOT NULL",
        "artifact_type": "text NOT NULL",
        "call_id": "uuid",
        "group_id": "uuid",
        "sha256": "text NOT NULL",
        "content_type": "text NOT NULL",
        "byte_size": "bigint NOT NULL",
        "shape": "jsonb",
        "metadata": "jsonb NOT NULL",
        "kept_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("artifact_id",),
    indexes=(
        "(name, position)",
        "(group_id, position)",
        "(call_id) WHERE call_id IS NOT NULL",
        "(position)",
        "(sha256)",
    ),
)

DATASETS_VIEW = View(
    name="datasets",
    select="""
        SELECT dataset_id, content_sha256, row_count, columns AS columns_json, text_column, label_column, artifact_id,
            source_name, skipped_rows, metadata AS metadata_json, parent_dataset_id, sampling AS sampling_json,
            imported_at, position
        FROM {schema}.datasets
    """,
)

ARTIFACTS_VIEW = View(
    name="call_artifacts",
    select="""
        SELECT artifact_id, call_id, group_id, 'sha256:' || sha256 AS uri, sha256, content_type, byte_size,
            metadata || jsonb_build_object('artifact_type', artifact_type, 'shape', shape, 'name', name)
                AS metadata_json
        FROM {schema}.artifacts
    """,
)

_insert_datasets = Insert(DATASETS)
_insert_vectors = Insert(VECTORS_IMPORTS)
_insert_artifacts = Insert(ARTIFACTS)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """One row an event: what is named by its content happens once."""
    datasets: list[tuple[Any, ...]] = []
    vectors: list[tuple[Any, ...]] = []
    artifacts: list[tuple[Any, ...]] = []
    for event in events:
        match event.fact:
            case DatasetImported():
                datasets.append(_dataset_row(event, event.fact))
            case VectorsImported():
                vectors.append(_vectors_row(event, event.fact))
            case ArtifactKept():
                artifacts.append(_artifact_row(event, event.fact))
    return [*_insert_datasets(datasets), *_insert_vectors(vectors), *_insert_artifacts(artifacts)]


def _dataset_row(event: RecordedEvent, fact: DatasetImported) -> tuple[Any, ...]:
    return (
        event.stream_id,
        fact.content_sha256,
        fact.row_count,
        fact.columns,
        fact.text_column,
        fact.label_column,
        fact.artifact_id,
        fact.source_name,
        fact.skipped_rows,
        fact.metadata,
        fact.parent_dataset_id,
        fact.sampling,
        event.envelope.occurred_at,
        event.envelope.actor,
        event.position,
    )


def _vectors_row(event: RecordedEvent, fact: VectorsImported) -> tuple[Any, ...]:
    return (
        event.stream_id,
        fact.content_sha256,
        fact.row_count,
        fact.dimension,
        fact.artifact_id,
        fact.source_name,
        fact.metadata,
        event.envelope.occurred_at,
        event.envelope.actor,
        event.position,
    )


def _artifact_row(event: RecordedEvent, fact: ArtifactKept) -> tuple[Any, ...]:
    return (
        event.stream_id,
        fact.name,
        fact.artifact_type,
        fact.call_id,
        fact.group_id,
        fact.sha256,
        fact.content_type,
        fact.byte_size,
        fact.shape,
        fact.metadata,
        event.envelope.occurred_at,
        event.envelope.actor,
        event.position,
    )


CATALOGUE = ReadModel(
    name="catalogue",
    version=2,
    reads=(DatasetImported, VectorsImported, ArtifactKept),
    tables=(DATASETS, VECTORS_IMPORTS, ARTIFACTS),
    views=(DATASETS_VIEW, ARTIFACTS_VIEW),
    changes=changes,
)
