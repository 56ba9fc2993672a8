"""A study for ordinary code: each method is the asynchronous one, run in a background loop."""

import builtins
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import anyio.from_thread
import numpy as np
from anyio.from_thread import BlockingPortal
from numpy.typing import NDArray

from application.ask_model import Answer
from application.batches import Outcome
from application.embed_texts import Embedded
from application.export_rows import Exported
from application.import_dataset import Dataset
from application.import_legacy_runs import Imported
from application.providers import Provider
from application.validate_deployments import Validated
from application.validate_legacy_import import Validation
from interfaces.study import Json
from study_query_llm.analytics import Analytics
from study_query_llm.artifacts import Artifact
from study_query_llm.asynchronous import AsyncStudy, open_async
from study_query_llm.conversation import Conversation
from study_query_llm.groups import Group
from study_query_llm.results import Batch, Rows, Summaries, Walked
from study_query_llm.sweeps import Sweep, Swept
from study_query_llm.text_stream import TextStream


class Study:
    """An open study, for ordinary code: each method is AsyncStudy's, run in a background loop."""

    def __init__(self, portal: BlockingPortal, study: AsyncStudy, opened: ExitStack) -> None:
        self._portal = portal
        self._study = study
        self._opened = opened

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._opened.__exit__(*failure)

    def __repr__(self) -> str:
        return "<Study>"

    def close(self) -> None:
        """Close it; what is closed stays so. At the end of `with`, and of the program, this happens by itself."""
        self._opened.close()

    def ask(self, prompt: str | None = None, **options: Any) -> Answer:
        """See AsyncStudy.ask."""
        return self._portal.call(partial(self._study.ask, prompt, **options))

    def samples(self, prompt: str | None = None, n: int = 2, **options: Any) -> list[Outcome]:
        """See AsyncStudy.samples."""
        return self._portal.call(partial(self._study.samples, prompt, n, **options))

    def ask_batch(self, questions: "Iterable[str | Mapping[str, Any]]", **options: Any) -> Batch:
        """See AsyncStudy.ask_batch."""
        return self._portal.call(partial(self._study.ask_batch, questions, **options))

    def summarise(self, texts: "Iterable[str | Sequence[str]]", **options: Any) -> Summaries:
        """See AsyncStudy.summarise."""
        return self._portal.call(partial(self._study.summarise, texts, **options))

    def stream(self, prompt: str | None = None, **options: Any) -> TextStream[Answer]:
        """See AsyncStudy.stream: `for text in study.stream(…)`."""
        return TextStream(self._portal, self._portal.call(partial(self._study.stream, prompt, **options)))

    def conversation(self, conversation_id: UUID | str | None = None, **options: Any) -> Conversation:
        """See AsyncStudy.conversation."""
        found = self._portal.call(partial(self._study.conversation, conversation_id, **options))
        return Conversation(self._portal, found)

    def conversations(self, **filters: Any) -> Rows:
        """See AsyncStudy.conversations."""
        return self._portal.call(partial(self._study.conversations, **filters))

    def embed(self, texts: Iterable[str], **options: Any) -> Embedded:
        """See AsyncStudy.embed."""
        return self._portal.call(partial(self._study.embed, texts, **options))

    def validate_deployments(self, provider: str | None, names: Iterable[str], **options: Any) -> list[Validated]:
        """See AsyncStudy.validate_deployments."""
        return self._portal.call(partial(self._study.validate_deployments, provider, names, **options))

    def filter_valid_deployments(self, provider: str | None, names: Iterable[str]) -> list[str]:
        """See AsyncStudy.filter_valid_deployments."""
        return self._portal.call(self._study.filter_valid_deployments, provider, names)

    def similar(self, to: "str | Sequence[float] | NDArray[np.float32]", **options: Any) -> Rows:
        """See AsyncStudy.similar."""
        return self._portal.call(partial(self._study.similar, to, **options))

    def vectors(self, dataset: str, **options: Any) -> NDArray[np.float32]:
        """See AsyncStudy.vectors."""
        return self._portal.call(partial(self._study.vectors, dataset, **options))

    def export_embeddings(self, out: str | Path, **options: Any) -> Exported:
        """See AsyncStudy.export_embeddings."""
        return self._portal.call(partial(self._study.export_embeddings, out, **options))

    def export(self, what: str, out: str | Path, **options: Any) -> Exported:
        """See AsyncStudy.export."""
        return self._portal.call(partial(self._study.export, what, out, **options))

    def import_legacy(self, url: str | None = None, **options: Any) -> Imported:
        """See AsyncStudy.import_legacy."""
        return self._portal.call(partial(self._study.import_legacy, url, **options))

    def validate_legacy(self, url: str | None = None, **options: Any) -> Validation:
        """See AsyncStudy.validate_legacy."""
        return self._portal.call(partial(self._study.validate_legacy, url, **options))

    def import_vectors(self, vectors: NDArray[np.float32], **options: Any) -> Json:
        """See AsyncStudy.import_vectors."""
        return self._portal.call(partial(self._study.import_vectors, vectors, **options))

    def import_dataset(self, data: Any, **options: Any) -> Dataset:
        """See AsyncStudy.import_dataset."""
        return self._portal.call(partial(self._study.import_dataset, data, **options))

    def sample_dataset(self, parent: str, **options: Any) -> Dataset:
        """See AsyncStudy.sample_dataset."""
        return self._portal.call(partial(self._study.sample_dataset, parent, **options))

    def group(self, group_type: str, name: str | None = None, **options: Any) -> Group:
        """See AsyncStudy.group."""
        return Group(self._portal, self._portal.call(partial(self._study.group, group_type, name, **options)))

    def groups(self, **options: Any) -> Rows:
        """See AsyncStudy.groups."""
        return self._portal.call(partial(self._study.groups, **options))

    def artifact(self, value: Any, *, group: Group | UUID | str, **options: Any) -> Artifact:
        """See AsyncStudy.artifact."""
        named = group.group_id if isinstance(group, Group) else group
        return Artifact(self._portal, self._portal.call(partial(self._study.artifact, value, group=named, **options)))

    def find_artifact(self, artifact: UUID | str, **options: Any) -> Artifact:
        """See AsyncStudy.find_artifact."""
        return Artifact(self._portal, self._portal.call(partial(self._study.find_artifact, artifact, **options)))

    def artifacts(self, **filters: Any) -> Rows:
        """See AsyncStudy.artifacts."""
        return self._portal.call(partial(self._study.artifacts, **filters))

    def sweep(self, data: "Embedded | NDArray[np.float32] | str", **options: Any) -> Sweep:
        """See AsyncStudy.sweep."""
        return Sweep(self._portal, self._portal.call(partial(self._study.sweep, data, **options)))

    def methods(self) -> Rows:
        """See AsyncStudy.methods."""
        return self._portal.call(self._study.methods)

    def rules(self) -> Rows:
        """See AsyncStudy.rules."""
        return self._portal.call(self._study.rules)

    def resume_sweep(self, sweep: Swept | UUID | str, **options: Any) -> Sweep:
        """See AsyncStudy.resume_sweep."""
        return Sweep(self._portal, self._portal.call(partial(self._study.resume_sweep, sweep, **options)))

    def cancel_sweep(self, sweep: Swept | UUID | str) -> Json:
        """See AsyncStudy.cancel_sweep."""
        return self._portal.call(self._study.cancel_sweep, sweep)

    def find_sweep(self, sweep_id: UUID | str) -> Sweep:
        """See AsyncStudy.find_sweep."""
        return Sweep(self._portal, self._portal.call(self._study.find_sweep, sweep_id))

    def report(self, sweep: Swept | UUID | str, out: str | Path, **options: Any) -> Path:
        """See AsyncStudy.report."""
        return self._portal.call(partial(self._study.report, sweep, out, **options))

    def calls(self, **filters: Any) -> Rows:
        """See AsyncStudy.calls."""
        return self._portal.call(partial(self._study.calls, **filters))

    @property
    def analytics(self) -> Analytics:
        """See AsyncStudy.analytics."""
        return Analytics(self._portal, self._study.analytics)

    def call(self, call_id: UUID | str, **options: Any) -> Json:
        """See AsyncStudy.call."""
        return self._portal.call(partial(self._study.call, call_id, **options))

    def datasets(self, **options: Any) -> Rows:
        """See AsyncStudy.datasets."""
        return self._portal.call(partial(self._study.datasets, **options))

    def sweeps(self, **options: Any) -> Rows:
        """See AsyncStudy.sweeps."""
        return self._portal.call(partial(self._study.sweeps, **options))

    def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """See AsyncStudy.history."""
        return self._portal.call(self._study.history, kind, entity_id)

    def provenance(self, thing: Any, **options: Any) -> Walked:
        """See AsyncStudy.provenance."""
        return self._portal.call(partial(self._study.provenance, thing, **options))

    def prov_json(self, thing: Any, **options: Any) -> Json:
        """See AsyncStudy.prov_json."""
        return self._portal.call(partial(self._study.prov_json, thing, **options))

    def request_hash(self, text: str, **options: Any) -> str:
        """See AsyncStudy.request_hash."""
        return self._portal.call(partial(self._study.request_hash, text, **options))

    def bytes(self, call_id: UUID | str, part: str = "response", **options: Any) -> builtins.bytes:
        """See AsyncStudy.bytes."""
        return self._portal.call(partial(self._study.bytes, call_id, part, **options))

    def compare(self, first: Swept | UUID | str, second: Swept | UUID | str) -> Json:
        """See AsyncStudy.compare."""
        return self._portal.call(self._study.compare, first, second)

    def events(self, **options: Any) -> Rows:
        """See AsyncStudy.events."""
        return self._portal.call(partial(self._study.events, **options))

    def unanswered(self, **options: Any) -> Rows:
        """See AsyncStudy.unanswered."""
        return self._portal.call(partial(self._study.unanswered, **options))

    def issue_token(self, name: str, scope: Literal["read", "write", "admin"], **options: Any) -> Json:
        """See AsyncStudy.issue_token."""
        return self._portal.call(partial(self._study.issue_token, name, scope, **options))

    def revoke_token(self, name: str) -> Json:
        """See AsyncStudy.revoke_token."""
        return self._portal.call(self._study.revoke_token, name)

    def tokens(self, **options: Any) -> Rows:
        """See AsyncStudy.tokens."""
        return self._portal.call(partial(self._study.tokens, **options))


def open(  # noqa: A001 - `sq.open` reads well
    *,
    database_url: str | None = None,
    home: str | Path | None = None,
    providers: Mapping[str, Provider] | None = None,
    actor: str | None = None,
) -> Study:
    """Open a study for ordinary code: embedded, or on the Postgres of `database_url`.

    `with sq.open() as study:` closes it at the end of the block; `study = sq.open()`, as in the cells of a notebook,
    leaves it open until `study.close()` or the end of the program.
    """
    opening = open_async(database_url=database_url, home=home, providers=providers, actor=actor)
    with ExitStack() as stack:
        portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
        study = stack.enter_context(portal.wrap_async_context_manager(opening))
        opened = stack.pop_all()
    # Before threads are joined, or the loop's own, which waits for us, would keep the program from ending.
    threading._register_atexit(opened.close)  # type: ignore[attr-defined]
    return Study(portal, study, opened)
