"""One example of every fact, with every field filled in: what golden bytes and round trips are made of."""

from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

from domain.artifacts import ArtifactKept
from domain.calls import (
    AttemptError,
    CallAnswered,
    CallAttemptFailed,
    CallCancelled,
    CallFailed,
    CallFoundInDoubt,
    CallJoined,
    CallRequested,
    CallServedFromCache,
    Tokens,
    VectorBlock,
)
from domain.conversations import (
    ConversationClosed,
    ConversationForked,
    ConversationSettings,
    ConversationStarted,
    ConversationTurnTaken,
)
from domain.datasets import DatasetImported, Sampling, VectorsImported
from domain.deployments import DeploymentProbed
from domain.events import Envelope, Fact, PayloadRef
from domain.groups import (
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
    Member,
)
from domain.preprocessing import Preprocessed, StepDone
from domain.pricing import Charge, Price
from domain.sweeps import (
    Cluster,
    StepMetrics,
    SweepConfig,
    SweepFailed,
    SweepFinished,
    SweepResumed,
    SweepSource,
    SweepStarted,
    SweepStepFinished,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID("0195512a-7c00-7000-8000-000000000001")
OTHER_ID = UUID("0195512a-7c00-7000-8000-000000000002")
ENVELOPE = Envelope(NOON, "ada", "00000000000000a1", UUID(int=7), UUID(int=8))
SHA256 = "ab" * 32
REQUEST = PayloadRef(part="request", sha256=SHA256, size=120, media_type="application/json", is_json=True)
RESPONSE = PayloadRef(part="response", sha256=SHA256, size=340, media_type="application/json", is_json=True)
RATE_LIMITED = AttemptError(
    kind="rate_limited",
    message="slow down",
    transient=True,
    http_status=429,
    code="rate_limit_exceeded",
    retry_after_seconds=1.5,
)

STREAM = PayloadRef(part="response", sha256=SHA256, size=900, media_type="text/event-stream")
COMPLETION = PayloadRef(part="completion", sha256=SHA256, size=340, media_type="application/json", is_json=True)
PREPROCESSED = Preprocessed(
    steps=(
        StepDone(step="control", removed_characters=2),
        StepDone(step="pii", parameter="US", replaced={"[EMAIL]": 1}),
        StepDone(step="truncate", parameter="500t", cut_characters=12, tokenizer="o200k_base"),
        StepDone(step="template", template="{user_input} in {language}", field_names=("language",)),
    ),
    original_sha256=SHA256,
    original=PayloadRef(part="original", sha256=SHA256, size=80, media_type="application/json", is_json=True),
)
PRICE = Price(
    provider="openai",
    endpoint="https://api.openai.com/v1",
    model="gpt-4o-mini",
    input=Decimal("0.15"),
    cached_input=Decimal("0.075"),
    output=Decimal("0.60"),
    valid_from=date(2024, 7, 18),
    valid_until=date(2027, 1, 1),
    source="a list",
)
MESSAGES = PayloadRef(part="messages", sha256=SHA256, size=90, media_type="application/json", is_json=True)
SETTINGS = ConversationSettings(
    system="Be brief.",
    provider="openai",
    model="gpt-4o-mini",
    temperature=0.5,
    max_tokens=100,
    seed=7,
    token_budget=4000,
)

EXAMPLES: tuple[Fact, ...] = (
    CallRequested(
        modality="embedding",
        provider="openai",
        endpoint="https://api.openai.com/v1",
        model="text-embedding-3-small",
        operation="embeddings",
        request=REQUEST,
        request_hash=SHA256,
        max_attempts=6,
        attempt_timeout_seconds=60.0,
        sample_index=2,
        input_hashes=bytes(range(32)),
        dimensions=3,
        metadata={"purpose": "study", "nested": {"n": 1}},
    ),
    CallAttemptFailed(attempt=1, error=RATE_LIMITED, latency_ms=12.5, waits_seconds=1.5, response=RESPONSE),
    CallAnswered(
        attempt=2,
        latency_ms=210.25,
        total_ms=1750.5,
        tokens=Tokens(prompt=10, completion=5, total=15, cached=2),
        response=RESPONSE,
        served_model="gpt-4o-mini-2024-07-18",
        http_status=200,
        headers={"x-request-id": "req_1"},
        finish_reason="stop",
        text_path=("choices", "0", "message", "content"),
        vectors=VectorBlock(count=1, dimension=3, norms=b"\x00\x00\x80?"),
    ),
    CallFailed(attempts=3, error=RATE_LIMITED, total_ms=4000.0),
    CallCancelled(attempts=1, reason="the caller left", total_ms=55.0),
    CallFoundInDoubt(dead_process="00000000000000b2", first_seen_dead_at=NOON),
    CallJoined(
        call_id=ID,
        modality="text",
        provider="openai",
        model="gpt-4o-mini",
        request_hash=SHA256,
        metadata={"purpose": "study"},
        took_over=True,
    ),
    DeploymentProbed(
        provider="azure",
        endpoint="https://example.openai.azure.com",
        model="embed-deploy",
        operation="embeddings",
        outcome="missing",
        call_id=ID,
        http_status=404,
    ),
    CallServedFromCache(modality="embedding", provider="local", model="local-ngrams", hits=360, call_ids=(ID,)),
    GroupCreated(group_type="dataset", name="clinc", description="test sentences", metadata={"dataset_id": str(ID)}),
    GroupMembersAdded(group_id=ID, members=(Member(call_id=OTHER_ID, role="output", position=0),)),
    GroupLinked(parent_group_id=ID, child_group_id=OTHER_ID, link_type="step", position=3, metadata={"k": 3}),
    DatasetImported(
        content_sha256=SHA256,
        row_count=4500,
        columns=("text", "intent"),
        text_column="text",
        artifact_id=ID,
        label_column="intent",
        source_name="clinc150_test.csv",
        skipped_rows=1,
        metadata={"licence": "CC BY 3.0"},
    ),
    VectorsImported(
        content_sha256=SHA256, row_count=4500, dimension=384, artifact_id=ID, source_name="x.npy", metadata={"by": "me"}
    ),
    ArtifactKept(
        sha256=SHA256,
        byte_size=18128,
        content_type="application/x-npy",
        artifact_type="sweep_labels",
        name="run/k=3/sweep_labels.npy",
        group_id=ID,
        call_id=OTHER_ID,
        shape=(4500,),
        metadata={"dtype": "int32"},
    ),
    SweepStarted(
        fingerprint=SHA256,
        config=SweepConfig(
            method="k-subspaces", k_values=(2, 3), parameters={"rank": 2}, summarise="local/local-extract"
        ),
        source=SweepSource(
            vectors_sha256=SHA256,
            n_samples=4500,
            n_features=384,
            dataset_id=ID,
            dataset_name="clinc",
            vectors_id=OTHER_ID,
            texts_sha256=SHA256,
            labels_sha256=SHA256,
            embedding_provider="local",
            embedding_model="local-ngrams",
            embedding_group_id=ID,
        ),
        run_group_id=ID,
        software={"numpy": "2.4.6"},
        salt="again",
        metadata={"note": "first"},
    ),
    SweepStepFinished(
        metrics=StepMetrics(
            k=3,
            objective=1234.5,
            iterations=17,
            converged=True,
            empty_clusters=0,
            silhouette=0.25,
            stability_ari_mean=0.9,
            stability_ari_std=0.05,
            dispersion=0.4,
            coverage=0.75,
            acc=0.7,
            nmi=0.8,
            ari=0.6,
        ),
        labels_sha256=SHA256,
        centroids_sha256=SHA256,
        best_restart=1,
        step_group_id=OTHER_ID,
        artifact_ids={"sweep_labels": ID},
        duration_s=0.75,
    ),
    SweepFinished(
        chosen_k=3,
        chosen_by="silhouette",
        explanation="K = 3 has the highest silhouette, 0.25",
        clusters=(
            Cluster(
                cluster=0,
                size=1500,
                name="train tickets",
                representatives=("When does the train leave?",),
                representative_rows=(12,),
                named_by_call_id=OTHER_ID,
                fell_back=True,
            ),
        ),
        artifact_ids={"sweep_report": ID},
        duration_s=3.25,
    ),
    SweepFailed(reason="the disk is full"),
    SweepResumed(finished_steps=4),
    ConversationStarted(settings=SETTINGS, title="primes", metadata={"purpose": "study"}),
    ConversationForked(parent_id=ID, at_turn=3, settings=SETTINGS, title="primes", metadata={"purpose": "study"}),
    ConversationTurnTaken(
        turn=4,
        call_id=ID,
        after=3,
        messages=MESSAGES,
        opening="Name three primes",
        provider="openai",
        model="gpt-4o-mini",
        finish_reason="stop",
        dropped_turns=2,
        budget_tokens=4000,
        prompt_tokens_estimated=3990,
        counted_by="characters/4",
    ),
    ConversationClosed(reason="done"),
    GroupDescribed(description="what it is about", metadata={"dataset_id": str(ID), "reviewed": True}),
    GroupMembersRemoved(group_id=ID, call_ids=(OTHER_ID,)),
    GroupUnlinked(parent_group_id=ID, child_group_id=OTHER_ID, link_type="step"),
)

# The same facts with the fields that they got later, by what the stored bytes are called: the name, then what is new.
LATER_EXAMPLES: dict[str, Fact] = {
    "call.requested.v1 preprocessed": CallRequested(
        modality="text",
        provider="openai",
        endpoint="https://api.openai.com/v1",
        model="gpt-4o-mini",
        operation="chat",
        request=REQUEST,
        request_hash=SHA256,
        max_attempts=3,
        attempt_timeout_seconds=60.0,
        preprocessing=PREPROCESSED,
    ),
    "call.joined.v1 preprocessed": CallJoined(
        call_id=ID,
        modality="text",
        provider="openai",
        model="gpt-4o-mini",
        request_hash=SHA256,
        preprocessing=PREPROCESSED,
    ),
    "call.served_from_cache.v1 preprocessed": CallServedFromCache(
        modality="text", provider="local", model="local-extract", hits=1, call_ids=(ID,), preprocessing=PREPROCESSED
    ),
    "call.joined.v1 of texts": CallJoined(
        call_id=UUID(int=3),
        modality="embedding",
        provider="openai",
        model="text-embedding-3-small",
        request_hash="ef" * 32,
        input_hashes=bytes(range(32)),
    ),
    "call.attempt_failed.v1 of a stream": CallAttemptFailed(
        attempt=1,
        error=RATE_LIMITED,
        latency_ms=12.5,
        response=STREAM,
        completion=COMPLETION,
        first_token_ms=4.5,
    ),
    "call.answered.v1 of a stream": CallAnswered(
        attempt=1,
        latency_ms=210.25,
        total_ms=250.5,
        tokens=Tokens(prompt=10, completion=5, total=15),
        response=STREAM,
        http_status=200,
        finish_reason="stop",
        text_path=("choices", "0", "message", "content"),
        completion=COMPLETION,
        first_token_ms=10.25,
        tokens_per_second=20.0,
    ),
    "call.answered.v1 with its cost": CallAnswered(
        attempt=1,
        latency_ms=210.25,
        total_ms=250.5,
        tokens=Tokens(prompt=10, completion=5, total=15, cached=2),
        response=RESPONSE,
        charge=Charge(price=PRICE, cost=Decimal("0.0000043500")),
    ),
    "call.served_from_cache.v1 with what it saved": CallServedFromCache(
        modality="text", provider="openai", model="gpt-4o-mini", hits=1, call_ids=(ID,), saved=Decimal("0.0000043500")
    ),
    "call.served_from_cache.v1 with metadata": CallServedFromCache(
        modality="embedding",
        provider="openai",
        model="text-embedding-3-small",
        hits=3,
        call_ids=(ID, OTHER_ID),
        metadata={"purpose": "similarity search"},
    ),
    "call.cancelled.v1 of a stream": CallCancelled(
        attempts=1,
        reason="the caller left",
        total_ms=55.0,
        latency_ms=50.0,
        response=STREAM,
        completion=COMPLETION,
        first_token_ms=4.5,
    ),
    "dataset.imported.v1 of a sample": DatasetImported(
        content_sha256=SHA256,
        row_count=300,
        columns=("text", "intent"),
        text_column="text",
        artifact_id=ID,
        label_column="intent",
        parent_dataset_id=OTHER_ID,
        sampling=Sampling(rows=300, seed=7, where={"intent": "translate"}),
    ),
    "sweep.started.v1 with the time its vectors took": SweepStarted(
        fingerprint=SHA256,
        config=SweepConfig(method="k-means", k_values=(2,)),
        source=SweepSource(vectors_sha256=SHA256, n_samples=10, n_features=3),
        run_group_id=ID,
        software={"numpy": "2.4.6"},
        gather_duration_s=1.25,
    ),
    "sweep.finished.v1 with what its representatives were embedded under": SweepFinished(
        chosen_k=2,
        chosen_by="silhouette",
        explanation="K = 2 has the highest silhouette, 0.5",
        clusters=(),
        artifact_ids={"request_hashes": ID},
        duration_s=3.25,
        representative_hashes=((SHA256,), ()),
        timings_s={"preparing": 0.5, "steps": 2.25, "naming": 0.25},
    ),
}
