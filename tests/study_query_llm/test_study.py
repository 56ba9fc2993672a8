import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import study_query_llm as sq
from infrastructure.providers.local import LocalProvider
from study_query_llm._neighbours import shadowed
from tests.conftest import Database

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
    assert [call["call_id"] for call in calls] == [str(answer.call_id)]
    assert len(calls.to_frame()) == 1
    assert [event["event"] for event in history] == ["call.requested.v1", "call.answered.v1"]
    with pytest.raises(sq.Rejected, match="was not swept"):
        sweep.labels(k=9)


async def test_inside_an_event_loop_with_a_provider_of_ones_own(database: Database, tmp_path: Path) -> None:
    async with sq.open_async(
        database_url=database.application_uri, home=tmp_path, providers={"mine": LocalProvider()}
    ) as study:
        answer = await study.ask("Rome is in Italy.", provider="mine")
        sweep = await study.sweep(np.eye(6, 4, dtype=np.float32), k=[2], restarts=2, pca_dim=None)
    assert answer.text
    assert sweep.chosen_k == 2


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
