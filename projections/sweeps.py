"""Sweeps and their steps: the tables and what events do to them.

A sweep may fail and be resumed many times, so its status lies in a table of its turns: as of a position, the last
turn up to it counts. A process that was thought dead may finish a step that another has finished too, and of a step's
rows the last one up to the position counts. One that was asked for has no row among the sweeps until it starts.
"""

from collections.abc import Sequence
from typing import Any

from domain.events import RecordedEvent
from domain.sweeps import (
    TURNS as STATUSES,
)
from domain.sweeps import (
    SweepFinished,
    SweepRequested,
    SweepRoundFinished,
    SweepStarted,
    SweepStepFinished,
)
from projections.read_model import Change, Insert, ReadModel, Table, Update, View

SWEEPS = Table(
    name="sweeps",
    columns={
        "sweep_id": "uuid NOT NULL",
        "fingerprint": "text NOT NULL",
        "salt": "text",
        "method": "text NOT NULL",
        "config": "jsonb NOT NULL",
        "source": "jsonb NOT NULL",
        "dataset_id": "uuid",
        "dataset_name": "text",
        "run_group_id": "uuid NOT NULL",
        "software": "jsonb NOT NULL",
        "metadata": "jsonb NOT NULL",
        "actor": "text NOT NULL",
        "process": "text NOT NULL",
        "started_at": "timestamptz NOT NULL",
        "started_position": "bigint NOT NULL",
        "finished_at": "timestamptz",
        "finished_position": "bigint",
        "chosen_k": "int",
        "chosen_by": "text",
        "explanation": "text",
        "clusters": "jsonb",
        "artifact_ids": "jsonb",
        "duration_s": "float8",
        "representative_hashes": "jsonb",
        "timings_s": "jsonb",
        "gather_duration_s": "float8",
    },
    key=("sweep_id",),
    indexes=(
        "(started_position)",
        "(run_group_id)",
        "(dataset_id)",
        "((source ->> 'embedding_group_id'))",
        "((source ->> 'vectors_id'))",
        "USING gin (clusters jsonb_path_ops)",
        "USING gin (representative_hashes jsonb_path_ops)",
    ),
)

TURNS = Table(
    name="sweep_turns",
    columns={
        "sweep_id": "uuid NOT NULL",
        "position": "bigint NOT NULL",
        "status": "text NOT NULL",  # what the sweep is from here on
        "at": "timestamptz NOT NULL",
        "process": "text NOT NULL",
        "reason": "text",
    },
    key=("sweep_id", "position"),
)

REQUESTS = Table(
    name="sweep_requests",
    columns={
        "sweep_id": "uuid NOT NULL",
        "position": "bigint NOT NULL",
        "fingerprint": "text NOT NULL",
        "salt": "text",
        "config": "jsonb NOT NULL",
        "dataset_id": "uuid",
        "dataset_name": "text",
        "compute": "text",
        "actor": "text NOT NULL",
        "requested_at": "timestamptz NOT NULL",
    },
    key=("sweep_id", "position"),
    indexes=("(position)",),
)

METRICS = {
    "objective": "float8 NOT NULL",
    "iterations": "int NOT NULL",
    "converged": "boolean NOT NULL",
    "empty_clusters": "int NOT NULL",
    "silhouette": "float8",
    "stability_ari_mean": "float8",
    "stability_ari_std": "float8",
    "dispersion": "float8 NOT NULL",
    "coverage": "float8 NOT NULL",
    "acc": "float8",
    "nmi": "float8",
    "ari": "float8",
    "homogeneity": "float8",
    "completeness": "float8",
    "v_measure": "float8",
    "silhouette_euclidean": "float8",
    "calinski_harabasz": "float8",
    "davies_bouldin": "float8",
    "noise": "int NOT NULL",
    "gap": "float8",
    "gap_s": "float8",
    "log_w": "float8",
    "log_w_expected": "float8",
    "prediction_strength": "float8",
    "prediction_strength_std": "float8",
    "bic": "float8",
}

STEPS = Table(
    name="sweep_steps",
    columns={
        "sweep_id": "uuid NOT NULL",
        "k": "int NOT NULL",
        **METRICS,
        "labels_sha256": "text NOT NULL",
        "centroids_sha256": "text NOT NULL",
        "best_restart": "int NOT NULL",
        "step_group_id": "uuid NOT NULL",
        "artifact_ids": "jsonb NOT NULL",
        "duration_s": "float8 NOT NULL",
        "finished_at": "timestamptz NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("sweep_id", "k", "position"),
    indexes=("(step_group_id)",),
)

ROUNDS = Table(
    name="sweep_rounds",
    columns={
        "sweep_id": "uuid NOT NULL",
        "k": "int NOT NULL",
        "round": "int NOT NULL",
        "objective": "float8 NOT NULL",
        "iterations": "int NOT NULL",
        "converged": "boolean NOT NULL",
        "changed_rows": "int NOT NULL",
        "summaries": "jsonb NOT NULL",
        "fell_back": "int NOT NULL",  # how many of the summaries
        "labels_sha256": "text NOT NULL",
        "centroids_sha256": "text NOT NULL",
        "step_group_id": "uuid NOT NULL",
        "summaries_group_id": "uuid",
        "embedding_group_id": "uuid",
        "artifact_ids": "jsonb NOT NULL",
        "duration_s": "float8 NOT NULL",
        "finished_at": "timestamptz NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("sweep_id", "k", "round", "position"),
    indexes=("(step_group_id)", "(embedding_group_id)", "USING gin (summaries jsonb_path_ops)"),
)

SWEEPS_VIEW = View(
    name="sweeps",
    select="""
        SELECT s.sweep_id, last.status, s.method, s.chosen_k, s.chosen_by, s.explanation, s.config AS config_json,
            s.source AS source_json, s.clusters AS clusters_json, s.fingerprint, s.dataset_id, s.dataset_name,
            s.run_group_id,
            (SELECT count(DISTINCT t.k) FROM {schema}.sweep_steps t WHERE t.sweep_id = s.sweep_id) AS steps,
            s.started_at, s.finished_at, s.duration_s, s.timings_s AS timings_json, s.gather_duration_s, last.reason,
            s.actor, last.process,
            s.software AS software_json, s.metadata AS metadata_json, s.started_position AS position
        FROM {schema}.sweeps s
        CROSS JOIN LATERAL (
            SELECT t.status, t.process, t.reason FROM {schema}.sweep_turns t
            WHERE t.sweep_id = s.sweep_id ORDER BY t.position DESC LIMIT 1
        ) AS last
    """,
)

REQUESTS_VIEW = View(
    name="sweep_requests",
    select="""
        SELECT sweep_id, position, fingerprint, salt, config AS config_json, dataset_id, dataset_name, compute, actor,
            requested_at
        FROM {schema}.sweep_requests
    """,
)

STEPS_VIEW = View(
    name="sweep_steps",
    select=f"""
        SELECT DISTINCT ON (sweep_id, k) sweep_id, k, {", ".join(METRICS)}, labels_sha256, centroids_sha256,
            best_restart, step_group_id, artifact_ids AS artifact_ids_json, duration_s, finished_at, position
        FROM {{schema}}.sweep_steps ORDER BY sweep_id, k, position DESC
    """,  # noqa: S608 - our own names
)

ROUNDS_VIEW = View(
    name="sweep_rounds",
    select="""
        SELECT DISTINCT ON (sweep_id, k, round) sweep_id, k, round, objective, iterations, converged, changed_rows,
            summaries AS summaries_json, fell_back, labels_sha256, centroids_sha256, step_group_id,
            summaries_group_id, embedding_group_id, artifact_ids AS artifact_ids_json, duration_s, finished_at, position
        FROM {schema}.sweep_rounds ORDER BY sweep_id, k, round, position DESC
    """,
)

_finished_columns = (
    "finished_at",
    "finished_position",
    "chosen_k",
    "chosen_by",
    "explanation",
    "clusters",
    "artifact_ids",
    "duration_s",
    "representative_hashes",
    "timings_s",
)
_insert_sweeps = Insert(SWEEPS)
_insert_turns = Insert(TURNS)
_finish_sweeps = Update(SWEEPS, *_finished_columns)
_insert_steps = Insert(STEPS)
_insert_requests = Insert(REQUESTS)
_insert_rounds = Insert(ROUNDS)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """Started sweeps first, then what finished them, then turns and steps."""
    started: list[tuple[Any, ...]] = []
    finished: dict[Any, tuple[Any, ...]] = {}
    turns: list[tuple[Any, ...]] = []
    steps: list[tuple[Any, ...]] = []
    requests: list[tuple[Any, ...]] = []
    rounds: list[tuple[Any, ...]] = []
    for event in events:
        fact, at = event.fact, event.envelope.occurred_at
        if type(fact) in STATUSES:
            turns.append(_turn(event))
        match fact:
            case SweepRequested():
                requests.append(_request_row(event, fact))
            case SweepStarted():
                started.append(_started_row(event, fact))
            case SweepStepFinished():
                steps.append(_step_row(event, fact))
            case SweepRoundFinished():
                rounds.append(_round_row(event, fact))
            case SweepFinished():
                chosen = (fact.chosen_k, fact.chosen_by, fact.explanation, fact.clusters, fact.artifact_ids)
                made = (fact.duration_s, fact.representative_hashes, fact.timings_s)
                finished[event.stream_id] = (event.stream_id, at, event.position, *chosen, *made)
    return [
        *_insert_sweeps(started),
        *_finish_sweeps(list(finished.values())),
        *_insert_turns(turns),
        *_insert_steps(steps),
        *_insert_requests(requests),
        *_insert_rounds(rounds),
    ]


def _started_row(event: RecordedEvent, fact: SweepStarted) -> tuple[Any, ...]:
    envelope, source = event.envelope, fact.source
    return (
        event.stream_id,
        fact.fingerprint,
        fact.salt,
        fact.config.method,
        fact.config,
        source,
        source.dataset_id,
        source.dataset_name,
        fact.run_group_id,
        fact.software,
        fact.metadata,
        envelope.actor,
        envelope.process,
        envelope.occurred_at,
        event.position,
        *(None,) * len(_finished_columns),
        fact.gather_duration_s,
    )


def _turn(event: RecordedEvent) -> tuple[Any, ...]:
    status, reason = STATUSES[type(event.fact)], getattr(event.fact, "reason", None)
    return (event.stream_id, event.position, status, event.envelope.occurred_at, event.envelope.process, reason)


def _request_row(event: RecordedEvent, fact: SweepRequested) -> tuple[Any, ...]:
    return (
        event.stream_id,
        event.position,
        fact.fingerprint,
        fact.salt,
        fact.config,
        fact.dataset_id,
        fact.dataset_name,
        fact.compute,
        event.envelope.actor,
        event.envelope.occurred_at,
    )


def _step_row(event: RecordedEvent, fact: SweepStepFinished) -> tuple[Any, ...]:
    metrics = fact.metrics.flat()
    return (
        event.stream_id,
        fact.metrics.k,
        *(metrics[name] for name in METRICS),
        fact.labels_sha256,
        fact.centroids_sha256,
        fact.best_restart,
        fact.step_group_id,
        fact.artifact_ids,
        fact.duration_s,
        event.envelope.occurred_at,
        event.position,
    )


def _round_row(event: RecordedEvent, fact: SweepRoundFinished) -> tuple[Any, ...]:
    return (
        event.stream_id,
        fact.k,
        fact.round,
        fact.objective,
        fact.iterations,
        fact.converged,
        fact.changed_rows,
        fact.summaries,
        sum(summary.fell_back for summary in fact.summaries),
        fact.labels_sha256,
        fact.centroids_sha256,
        fact.step_group_id,
        fact.summaries_group_id,
        fact.embedding_group_id,
        fact.artifact_ids,
        fact.duration_s,
        event.envelope.occurred_at,
        event.position,
    )


SWEEP_RUNS = ReadModel(
    name="sweeps",
    version=5,
    reads=(*STATUSES, SweepStepFinished, SweepRoundFinished),
    tables=(SWEEPS, TURNS, STEPS, REQUESTS, ROUNDS),
    views=(SWEEPS_VIEW, STEPS_VIEW, REQUESTS_VIEW, ROUNDS_VIEW),
    changes=changes,
)
