"""A sweep over the number of clusters, as facts, and the state that resuming needs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, structs
from msgspec.structs import asdict, force_setattr

from domain.events import Fact, Metadata, RecordedEvent, stored_as
from domain.identity import canonical_json, content_id, sha256_hex

FINGERPRINT_VERSION = 1


class Preparation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is done to rows before they are clustered, in this order; projecting is SweepConfig.pca_dim."""

    unit_norm: bool = True  # scale rows to length 1
    centre: bool | None = None  # subtract the mean: None does so where rows are projected
    unit_norm_after: bool = False  # scale rows to length 1 again, after centring and projecting


class Choosing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How K is chosen, beyond the rule's name."""

    parameters: dict[str, Any] = {}  # of the rule, e.g. references of gap
    also_measure: tuple[str, ...] = ()  # further rules whose numbers are wanted


View = Literal["umap"]


class SweepConfig(Struct, frozen=True, kw_only=True):
    """Everything that decides a sweep's numbers, but for the vectors themselves.

    What came after the first version is unset where nothing else than before is asked for, so that the fingerprints of
    earlier sweeps stay.
    """

    method: str
    k_values: tuple[int, ...]
    restarts: int = 10
    max_iterations: int = 200
    pca_dim: int | None = 64
    seed: int = 0
    coverage_threshold: float = 0.2
    choose_by: str = "silhouette"
    parameters: dict[str, Any] = {}  # of the method, e.g. rank
    summarise: str | None = None  # provider/model that names the clusters, or a Python function
    preparation: Preparation | UnsetType = UNSET
    choosing: Choosing | UnsetType = UNSET
    view: View | UnsetType = UNSET  # besides the principal components
    name_every_k: Literal[True] | UnsetType = UNSET  # not only the clusters of the chosen K

    def __post_init__(self) -> None:
        """Asking for what holds anyway is asking for nothing."""
        if self.preparation == Preparation():
            force_setattr(self, "preparation", UNSET)
        if self.choosing == Choosing():
            force_setattr(self, "choosing", UNSET)

    @property
    def prepared(self) -> Preparation:
        """The preparation that was asked for, or the one that holds anyway."""
        return self.preparation or Preparation()

    @property
    def choose_parameters(self) -> dict[str, Any]:
        """Parameters of the rule."""
        return self.choosing.parameters if self.choosing else {}

    @property
    def also_measured(self) -> tuple[str, ...]:
        """Rules whose numbers are wanted besides."""
        return self.choosing.also_measure if self.choosing else ()


class SweepSource(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a sweep's vectors and texts came from."""

    vectors_sha256: str
    n_samples: int
    n_features: int
    dataset_id: UUID | None = None
    dataset_name: str | None = None
    vectors_id: UUID | None = None
    texts_sha256: str | None = None
    labels_sha256: str | None = None
    embedding_provider: str | None = None
    embedding_model: str | None = None
    embedding_group_id: UUID | None = None
    embedding_dimensions: int | None = None  # that were asked for
    request_hashes_sha256: str | None = None  # of what its rows were embedded under, in their order


class InternalMetrics(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Further numbers of the clusters themselves; None where they weren't asked for or say nothing."""

    silhouette_euclidean: float | None = None  # −1 to 1
    calinski_harabasz: float | None = None  # at least 0, higher is better
    davies_bouldin: float | None = None  # at least 0, lower is better
    noise: int = 0  # rows that belong to no cluster
    gap: float | None = None  # in nats
    gap_s: float | None = None
    log_w: float | None = None  # log of the within-cluster dispersion, and its mean over references
    log_w_expected: float | None = None
    prediction_strength: float | None = None  # 0 to 1
    prediction_strength_std: float | None = None  # over splits
    bic: float | None = None  # lower is better


class ExternalMetrics(Struct, frozen=True, kw_only=True):
    """Further agreement with labels: fractions."""

    homogeneity: float
    completeness: float
    v_measure: float


class StepMetrics(Struct, frozen=True, kw_only=True):
    """A step's numbers; metrics are fractions (silhouettes −1 to 1), external ones None without labels."""

    k: int
    objective: float
    iterations: int
    converged: bool
    empty_clusters: int
    silhouette: float | None
    stability_ari_mean: float | None
    stability_ari_std: float | None
    dispersion: float
    coverage: float
    acc: float | None = None
    nmi: float | None = None
    ari: float | None = None
    internal: InternalMetrics | UnsetType = UNSET  # of steps from before it was measured there is none
    external: ExternalMetrics | UnsetType = UNSET

    def flat(self) -> dict[str, Any]:
        """Every number by its name, as documents and tables show them; None where there is none."""
        own = {name: value for name, value in asdict(self).items() if name not in {"internal", "external"}}
        inside = asdict(self.internal or InternalMetrics(noise=0))
        outside = asdict(self.external) if self.external else dict.fromkeys(ExternalMetrics.__struct_fields__)
        return own | inside | outside


class Cluster(Struct, frozen=True, kw_only=True):
    """A cluster of the chosen step: its name, who named it, and the texts that stand for it."""

    cluster: int
    size: int
    name: str
    representatives: tuple[str, ...]
    representative_rows: tuple[int, ...]
    named_by_call_id: UUID | None = None
    fell_back: bool = False  # the name is the first representative, because the summary failed
    keywords: tuple[str, ...] | UnsetType = UNSET  # what tells its texts from the others'; unset without texts


@stored_as("sweep.requested.v1")
class SweepRequested(Fact, frozen=True, kw_only=True):
    """Somebody asked for a sweep and left: a server is to run it, or to go on with it."""

    fingerprint: str
    config: SweepConfig
    dataset_id: UUID | None = None
    dataset_name: str | None = None
    vectors_id: UUID | None = None  # of vectors made elsewhere; without it the dataset is to be embedded
    provider: str | None = None
    model: str | None = None
    dimensions: int | None = None
    salt: str | None = None
    compute: str | None = None  # the scheduler that computes its steps; without it the server does


@stored_as("sweep.started.v1")
class SweepStarted(Fact, frozen=True, kw_only=True):
    """A sweep began; its id is made of its fingerprint."""

    fingerprint: str
    config: SweepConfig
    source: SweepSource
    run_group_id: UUID
    software: dict[str, str]
    salt: str | None = None  # set when a second run of the same fingerprint was asked for
    metadata: Metadata = {}
    gather_duration_s: float | None = None  # until the vectors were there: read, embedded or imported
    input_artifact_ids: dict[str, UUID] = {}  # by artifact type: what is recorded nowhere else of what goes into it


@stored_as("sweep.step_finished.v1")
class SweepStepFinished(Fact, frozen=True, kw_only=True):
    """All restarts for one K are done; the best one's labels and centroids are kept as artifacts."""

    metrics: StepMetrics
    labels_sha256: str
    centroids_sha256: str
    best_restart: int
    step_group_id: UUID
    artifact_ids: dict[
        str, UUID
    ]  # by artifact type: sweep_labels, sweep_centroids, sweep_representatives, sweep_metrics
    duration_s: float


class RoundSummary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one cluster's centroid was replaced in a round; what the summary says lies in the round's artifact.

    fell_back: no summary's vector could be had, so that the centroid stayed the mean it was; `status` says at what it
    failed: as a summary's, or `not_embedded`
    """

    cluster: int
    call_id: UUID | None = None  # of the summary
    row: int | None = None  # of the text that is the summary, where it is one of the texts
    fell_back: bool = False
    status: str = "success"
    reason: str | None = None


@stored_as("sweep.round_finished.v1")
class SweepRoundFinished(Fact, frozen=True, kw_only=True):
    """A round of k-llmmeans is done: centroids were replaced by the vectors of summaries, and k-means went on."""

    k: int
    round: int  # from 1
    summaries: tuple[RoundSummary, ...]  # one for each cluster that has members
    objective: float
    iterations: int
    converged: bool
    changed_rows: int  # that are in another cluster than before the round
    labels_sha256: str
    centroids_sha256: str
    step_group_id: UUID
    summaries_group_id: UUID | None  # of the calls that made the summaries, if there are any
    embedding_group_id: UUID | None  # of the calls that embedded them
    artifact_ids: dict[str, UUID]  # by artifact type: round_labels, round_centroids, round_summaries
    duration_s: float


@stored_as("sweep.finished.v1")
class SweepFinished(Fact, frozen=True, kw_only=True):
    """Every step is done, K is chosen and the clusters have names."""

    chosen_k: int
    chosen_by: str
    explanation: str
    clusters: tuple[Cluster, ...]
    artifact_ids: dict[str, UUID]
    duration_s: float
    representative_hashes: tuple[tuple[str, ...], ...] = ()  # a cluster's: what its representatives were embedded under
    timings_s: dict[str, float] = {}  # of the run that finished it: preparing, steps, naming


@stored_as("sweep.failed.v1")
class SweepFailed(Fact, frozen=True, kw_only=True):
    """The sweep stopped on an error; finished steps stay finished and a resume goes on from them."""

    reason: str


@stored_as("sweep.resumed.v1")
class SweepResumed(Fact, frozen=True, kw_only=True):
    """Somebody took up a sweep where it had been left."""

    finished_steps: int


@stored_as("sweep.cancelled.v1")
class SweepCancelled(Fact, frozen=True, kw_only=True):
    """Somebody wanted no more of the sweep; finished steps stay finished, and it can be resumed."""

    reason: str


@stored_as("sweep.interrupted.v1")
class SweepInterrupted(Fact, frozen=True, kw_only=True):
    """Nobody runs the sweep any more: its process was stopped, or was found dead."""

    reason: str
    dead_process: str | None = None
    first_seen_dead_at: datetime | None = None


SweepStatus = Literal["requested", "running", "finished", "failed", "cancelled", "interrupted"]
# A sweep that was asked for goes on by itself while it has one of these, whoever ran it died or stopped meanwhile.
LEFT_TO_SERVERS: tuple[SweepStatus, ...] = ("requested", "running", "interrupted")


# What a sweep is from each of these on.
TURNS: dict[type[Fact], SweepStatus] = {
    SweepRequested: "requested",
    SweepStarted: "running",
    SweepResumed: "running",
    SweepFinished: "finished",
    SweepFailed: "failed",
    SweepCancelled: "cancelled",
    SweepInterrupted: "interrupted",
}


class SweepState(Struct, frozen=True, kw_only=True):
    """What a sweep knows of itself; `process` is who wrote its latest turn."""

    requested: SweepRequested | None = None
    started: SweepStarted | None = None
    steps: dict[int, SweepStepFinished] = {}
    finished: SweepFinished | None = None
    status: SweepStatus = "running"
    process: str | None = None
    version: int = 0
    rounds: dict[int, dict[int, SweepRoundFinished]] = {}  # by K, then by their number


def evolve(state: SweepState, event: RecordedEvent) -> SweepState:
    """Fold one event of a sweep's stream into its state."""
    changes: dict[str, Any] = {"version": event.version}
    fact = event.fact
    if isinstance(fact, tuple(TURNS)):
        changes |= {"status": TURNS[type(fact)], "process": event.envelope.process}
    match fact:
        case SweepRequested():
            changes["requested"] = fact
        case SweepStarted():
            changes["started"] = fact
        case SweepStepFinished():
            changes["steps"] = {**state.steps, fact.metrics.k: fact}
        case SweepRoundFinished():
            changes["rounds"] = {**state.rounds, fact.k: {**state.rounds.get(fact.k, {}), fact.round: fact}}
        case SweepFinished():
            changes["finished"] = fact
    return structs.replace(state, **changes)


def fingerprint_of(config: SweepConfig, source: SweepSource) -> str:
    """What makes two sweeps the same: the vectors, texts, labels and configuration, not the names they go by."""
    rows = source.request_hashes_sha256 or source.vectors_sha256
    return fingerprint(config, rows, source.texts_sha256, source.labels_sha256)


def fingerprint(config: SweepConfig, rows_sha256: str, texts_sha256: str | None, labels_sha256: str | None) -> str:
    """The same from its parts.

    rows_sha256: of what the rows were embedded under, which is known before they are embedded; else of the vectors
    """
    return sha256_hex(
        canonical_json(
            {
                "v": FINGERPRINT_VERSION,
                "config": config,
                "vectors": rows_sha256,
                "texts": texts_sha256,
                "labels": labels_sha256,
            }
        )
    )


def hash_of_request_hashes(request_hashes: Sequence[str]) -> str:
    """The identity of rows by what each was embedded under, in their order."""
    return sha256_hex(bytes.fromhex("".join(request_hashes)))


def sweep_id_of(fingerprint: str, salt: str | None = None) -> UUID:
    """The id of the one sweep with this fingerprint; a salt makes it another."""
    return content_id("sweep", fingerprint, salt or "")
