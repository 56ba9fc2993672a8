import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import study_query_llm as sq
from application.group_calls import GroupPlace
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.openai_compatible import OpenAICompatible
from study_query_llm._neighbours import shadowed
from tests.conftest import Database
from tests.support.misbehaving_server import MisbehavingServer, Received

ROOT = Path(__file__).parents[2]
TEXTS = ["a train to Rome", "the train to Paris", "bake a cake", "bake bread", "a cake to bake", "a train ticket"]


def test_a_script_asks_embeds_sweeps_and_looks_back(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        answer = study.ask("Rome is in Italy. Where is Rome?", provider="local", group="batch/cities")
        embedded = study.embed(TEXTS, provider="local")
        again = study.embed(reversed(TEXTS), provider="local")
        sweep = study.sweep(embedded, texts=TEXTS, labels=list("ttbbbt"), k=range(2, 4), restarts=2, pca_dim=3)
        assert study.sweep(
            embedded, texts=TEXTS, labels=list("ttbbbt"), k=range(2, 4), restarts=2, pca_dim=3
        ).sweep_id == (sweep.sweep_id)
        cached = [study.ask("Rome?", provider="local", seed=1, cache="10m", share=False).cached for _ in range(2)]
        report = study.report(sweep.sweep_id, tmp_path / "report.html")
        text = sweep.report(tmp_path / "report.md")
        calls = study.calls(group="batch/cities")
        history = study.history("call", answer.call_id)
        assert study.call(answer.call_id)["text"] == answer.text
    assert embedded.vectors.shape == (6, 512)
    assert embedded.vectors.dtype == np.float32
    assert cached == [False, True]
    assert not embedded.cached.any()
    assert again.cached.all()
    assert np.array_equal(again.vectors, embedded.vectors[::-1])
    assert sweep.labels(k=3).shape == (6,)
    assert list(sweep.to_frame()["k"]) == [2, 3]
    assert "a train to Rome" in report.read_text()
    assert "a train to Rome" in text.read_text()
    assert [call["call_id"] for call in calls] == [str(answer.call_id)]
    assert len(calls.to_frame()) == 1
    assert [event["event"] for event in history] == ["call.requested.v1", "call.answered.v1"]
    with pytest.raises(sq.Rejected, match="was not swept"):
        sweep.labels(k=9)


def test_a_script_asks_many_questions_at_once(database: Database, tmp_path: Path) -> None:
    questions = ["a cat", {"prompt": "a dog", "n": 2, "metadata": {"row": 2}}, {"prompt": " "}]
    done: list[tuple[int, int]] = []
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        batch = study.ask_batch(questions, provider="local", progress=lambda *step: done.append(step))
        again = study.ask_batch(questions, provider="local")
        assert (batch.cost, batch.saved, again.saved) == ((0, 0), (0, 0), (0, 0))
        mine = study.ask_batch(["a cat"], provider="local", group="batch/mine")
        samples = study.samples("a cow", 3, provider="local")
        metadata = [call["metadata"] for call in study.calls(group=f"batch/{batch.name}")]
    assert batch.texts == ["a cat", "a dog", "a dog", None]
    assert [answer.status for answer in batch] == ["success"] * 3 + ["rejected"]
    assert (len(batch.unanswered), done[-1], repr(batch)) == (1, (4, 4), f"<Batch {batch.name}: 3 of 4 answered>")
    assert list(batch.to_frame()["index"]) == [0, 1, 1, 2]
    assert (again.group_id, again.name) == (batch.group_id, batch.name)
    assert [answer.call_id for answer in again[:3]] == [answer.call_id for answer in batch[:3]]
    assert mine.name == "mine"
    assert len({answer.call_id for answer in samples}) == 3
    assert sorted(map(len, metadata)) == [0, 1, 1]


async def test_inside_an_event_loop_with_a_provider_of_ones_own(database: Database, tmp_path: Path) -> None:
    async with sq.open_async(
        database_url=database.application_uri, home=tmp_path, providers={"mine": LocalProvider()}
    ) as study:
        answer = await study.ask("Rome is in Italy.", provider="mine")
        sweep = await study.sweep(np.eye(6, 4, dtype=np.float32), k=[2], restarts=2, pca_dim=None)
    assert answer.text
    assert sweep.chosen_k == 2


PROMPT = "Rome is in Italy, Paris is in France. Where is Rome?"


def test_a_script_reads_an_answer_while_it_comes(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        stream = study.stream(PROMPT, provider="local", group="batch/cities")
        pieces = list(stream)
        assert len(pieces) > 1
        assert "".join(pieces) == stream.answer.text
        assert study.call(stream.answer.call_id, as_of=stream.answer.position)["text"] == stream.answer.text
        with pytest.raises(sq.Rejected, match="There is no provider"):
            list(study.stream("?", provider="nobody"))
        with pytest.raises(TypeError, match="no option temprature; there are messages, "):
            study.stream("?", temprature=1)


def test_a_script_that_stops_reading_cancels_the_call(database: Database, tmp_path: Path) -> None:
    with (
        MisbehavingServer() as provider,
        sq.open(
            database_url=database.application_uri,
            home=tmp_path,
            providers={
                "slow": OpenAICompatible(api_key="k", base_url=provider.url, chat_model="m", embedding_model=None)
            },
        ) as study,
    ):
        provider.behave("stalled_stream", "stalled_stream", "stalled_stream")
        for _ in study.stream("one two three", provider="slow"):
            break
        with study.stream("one two three", provider="slow") as stream:
            assert next(iter(stream)) == "echo:"
        study.stream("one two three", provider="slow")  # nobody reads it: it ends with the study
        while len(provider.requests) < 3:
            time.sleep(0.01)
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        assert [call["status"] for call in study.calls()] == ["cancelled"] * 3


async def test_inside_an_event_loop_an_answer_is_read_while_it_comes(database: Database, tmp_path: Path) -> None:
    async with sq.open_async(database_url=database.application_uri, home=tmp_path) as study:
        stream = study.stream(PROMPT, provider="local")
        pieces = [piece async for piece in stream]
        assert "".join(pieces) == stream.answer.text
        assert stream.answer.position is not None


def test_packages_that_shadow_ours_are_named(tmp_path: Path) -> None:
    assert shadowed(ROOT) == []
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "__init__.py").write_text("")
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", "import study_query_llm"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(tmp_path / "domain" / "__init__.py") in done.stderr


def test_a_script_preprocesses_its_prompts_and_sees_what_they_cost(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        options = {"provider": "local", "preprocess": ["whitespace", "pii"], "template": "{user_input} ({tone})"}
        answer = study.ask("Where  is ada@example.org?", fields={"tone": "kind"}, **options)
        with pytest.raises(sq.Rejected, match=r"The template names \{tone\}"):
            study.ask("?", **options)
        call = study.call(answer.call_id, as_of=answer.position)
    assert call["request"]["messages"][-1]["content"] == "Where is [EMAIL]? (kind)"
    assert answer.cost == 0


def test_a_script_learns_which_deployments_there_are_and_says_what_it_embeds_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as server, sq.open(database_url=database.application_uri, home=tmp_path) as study:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.root)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-not-a-real-one")
        assert study.filter_valid_deployments("azure", ["embed-deploy", "gone"]) == ["embed-deploy"]
        found = study.validate_deployments("azure", ["embed-deploy", "gone"])
        embedded = study.embed(TEXTS, provider="local", group="embedding_batch/trips", metadata={"seed": 7})
        call = study.call(str(embedded.call_ids[0]), as_of=embedded.position)
        history = study.history("group", str(GroupPlace(group_type="embedding_batch", name="trips").group_id))
    assert [(each.outcome, each.remembered) for each in found] == [("available", True), ("missing", True)]
    assert call["metadata"] == {"seed": 7}
    made_with = history[0]["facts"]["metadata"]
    assert made_with["seed"] == 7
    assert {"numpy", "study-query-llm"} <= set(made_with["software"])


def test_what_was_swept_leads_back_to_its_calls_and_forward_from_its_texts(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        embedded = study.embed(["a train to Rome", "a bus to Rome", "bake a cake", "bake bread"], provider="local")
        sweep = study.sweep(embedded, k=[2], restarts=1, pca_dim=None)
        again = study.sweep(embedded, k=[2], restarts=1, pca_dim=None, seed=1)
        up = study.provenance(sweep, few=10)
        ids = {(node["kind"], node["id"]) for node in up["nodes"]}
        assert {("call", str(call_id)) for call_id in embedded.call_ids} <= ids
        assert {("text", request_hash) for request_hash in embedded.request_hashes} <= ids
        text = ("text", study.request_hash("bake bread", provider="local"))
        down = study.provenance(text, direction="down")
        assert {node["id"] for node in down["nodes"] if node["kind"] == "sweep"} == {sweep.sweep_id, again.sweep_id}
        assert study.prov_json(sweep)["activity"]
        assert study.bytes(embedded.call_ids[0], "request").startswith(b"{")
        assert "config.seed" in {each["field"] for each in study.compare(sweep, again)["differences"]}
        batches = [
            event for event in study.events(kind="group") if event["facts"].get("group_type") == "embedding_batch"
        ]
        assert len(batches) == 1  # both sweeps are of the same calls
        assert study.unanswered() == []
        answer = study.ask("The cat sat.", provider="local")
        assert study.provenance(answer)["root"]["kind"] == "call"
        assert study.provenance(f"call/{answer.call_id}", depth=1) == study.provenance(
            ("call", answer.call_id), depth=1
        )
        with pytest.raises(sq.Rejected, match="by itself"):
            study.provenance(3)


def test_a_report_counts_every_call_that_failed_or_was_repeated_over_many_pages(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.study.reports.LARGEST_PAGE", 1)
    rows = np.repeat(np.eye(5, 6, dtype=np.float32), 2, axis=0)
    with MisbehavingServer() as server:
        seen: dict[bytes, int] = {}

        def three_fail_and_two_are_repeated(request: Received, _number: int) -> str:
            first = request.body not in seen
            return "bad_request" if seen.setdefault(request.body, len(seen)) < 3 else "rate_limited" if first else "ok"

        server.behave_by(three_fail_and_two_are_repeated)
        keys = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-x", "OPENAI_MODEL": "tiny"}
        for name, value in keys.items():
            monkeypatch.setenv(name, value)
        with sq.open(database_url=database.application_uri, home=tmp_path) as study:
            sweep = study.sweep(
                rows, texts=list("aabbccddee"), k=[5], restarts=1, pca_dim=None, paraphraser="openai/tiny"
            )
            page = study.report(sweep.sweep_id, tmp_path / "report.md").read_text()
    assert "3 calls failed: " in page
    assert "2 calls were answered at a later attempt, after 2 that failed" in page


@pytest.fixture
def interpreted_umap() -> None:
    """UMAP as plain Python: its compilation takes most of a minute, laying few rows out without it a few seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numba.config.DISABLE_JIT", True)
        import_module("umap")


@pytest.mark.filterwarnings("ignore::ImportWarning")  # umap says at import what else it could do with other libraries
def test_a_rule_chooses_among_the_steps_of_a_method_with_parameters(
    database: Database, tmp_path: Path, interpreted_umap: None
) -> None:
    rows = np.repeat(np.eye(3, 6), 10, axis=0) + np.random.default_rng(0).normal(0, 0.05, (30, 6))
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        sweep = study.sweep(
            rows, method="agglomerative", parameters={"linkage": "average"}, k=range(1, 6), restarts=2, pca_dim=None,
            unit_norm=False, choose_by="gap", choose_parameters={"references": 4}, also_measure=["prediction-strength"],
            view="umap",
        )  # fmt: skip
        page = study.report(sweep.sweep_id, tmp_path / "report.html").read_text()
        found = study.sweep(rows, method="hdbscan", parameters={"min_cluster_size": 5})
        names = {row["method"] for row in study.methods()}
        rules = {row["rule"] for row in study.rules()}
        with pytest.raises(sq.Rejected, match="'linkage'"):
            study.sweep(rows, parameters={"linkage": "ward"})
    assert (sweep.chosen_k, sweep.document["chosen_by"]) == (3, "gap")
    assert sweep.to_frame()["gap"].notna().all()
    assert "laid out by UMAP" in page
    assert sweep.document["timings_s"]["view"] > 0
    assert (found.chosen_k, found.labels().min() >= -1) == (3, True)
    assert {"k-means", "hdbscan"} <= names
    assert {"gap", "silhouette"} <= rules
