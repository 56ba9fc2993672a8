"""Groups, datasets and artifacts from a script and from an event loop."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pandas as pd
import polars as pl
import pytest

import study_query_llm as sq
from study_query_llm.artifacts import file_of, value_of
from tests.conftest import Database


def test_a_script_groups_calls_and_looks_back(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        answers = [study.ask(f"{n} is a number.", provider="local") for n in range(3)]
        march = study.group("experiment", "march", description="mine", metadata={"a": 1})
        assert study.group("experiment/march", metadata={"b": 2}).group_id == march.group_id
        assert march.show()["metadata"] == {"a": 1, "b": 2}
        march.describe(description="ours", metadata={"a": None})
        assert (march.show()["description"], march.show()["metadata"]) == ("ours", {"b": 2})
        added = march.add(answers, role="output", position=4)
        march.add(answers[0].call_id)
        assert [row["position"] for row in march.members(role="output")] == [4, 5, 6]
        assert [row["call_id"] for row in march.members(limit=1)] == [str(answers[0].call_id)]
        march.remove([str(answers[0].call_id), answers[1]])
        assert (len(march.members()), len(march.members(as_of=added))) == (1, 3)
        first, second = study.group("run", "first"), study.group("run", "second")
        assert march.link(first, "contains", position=1, metadata={"why": "so"})
        assert not march.link("run/first", "contains")
        first.link(second.group_id, "step", position=2)
        second.link(study.group("dataset", "none"), "depends_on")
        assert [row["name"] for row in march.children(link_type="contains")] == ["first"]
        assert [row["name"] for row in first.parents()] == ["march"]
        assert [row["name"] for row in first.steps().to_frame().to_dict("records")] == ["second"]
        walk = second.dependencies()
        assert ([row["name"] for row in walk], walk.truncated) == (["none"], False)
        with pytest.raises(sq.Rejected, match="close a cycle"):
            second.link(march, "depends_on")
        assert first.unlink(second, "step")
        assert not first.unlink(second, "step")
        assert {group["name"] for group in study.groups(group_type="run")} == {"first", "second"}
        with pytest.raises(sq.Rejected, match="no calls of this store"):
            march.add(uuid4())
        everything = march.dependencies(direction="up", link_type=None)
        assert {row["name"] for row in everything} == {"first"}
        assert repr(march) == "<Group experiment/march>"


def test_provenance_is_asked_of_whatever_a_script_holds(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        answer = study.ask("Two is a number.", provider="local")
        group = study.group("run", "r")
        group.add(answer)
        artifact = study.artifact([1, 2], group=group, artifact_type="results")
        dataset = study.import_dataset([{"text": "a"}], name="one")
        for thing, kind, thing_id in (
            (answer, "call", answer.call_id),
            (study.calls()[0], "call", answer.call_id),
            (group.members()[0], "call", answer.call_id),
            (group, "group", group.group_id),
            (study.groups(group_type="run")[0], "group", group.group_id),
            (artifact, "artifact", artifact.artifact_id),
            (artifact.document, "artifact", artifact.artifact_id),
            (dataset, "dataset", dataset.dataset_id),
            (study.datasets()[0], "dataset", dataset.dataset_id),
        ):
            root = study.provenance(thing, depth=0)["root"]
            assert (root["kind"], root["id"]) == (kind, str(thing_id))


def test_a_script_keeps_values_as_files_and_loads_them(database: Database, tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.int32)
    frame = pd.DataFrame({"k": [2, 3], "nmi": [0.5, 0.75]})
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        run = study.group("run", "r")
        kept = study.artifact(labels, group=run, artifact_type="labels", step="k=2", metadata={"seed": 1})
        assert kept.document["shape"] == [6]
        assert np.array_equal(study.find_artifact(kept.name).load(), labels)
        assert study.find_artifact(kept.artifact_id).content() == kept.content()
        table = study.artifact(frame, group="run/r", artifact_type="metrics")
        assert table.load().equals(frame)
        results = study.artifact({"k": [2, 3]}, group=run.group_id, artifact_type="results")
        assert study.find_artifact(results.artifact_id).load() == {"k": [2, 3]}
        (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
        assert list(study.artifact(tmp_path / "mine.csv", group=run, artifact_type="mine").load().columns) == ["a", "b"]
        assert kept.save(tmp_path / "out.npy").read_bytes() == kept.content()
        assert {row["artifact_type"] for row in study.artifacts(group="run/r")} == {
            "labels",
            "metrics",
            "results",
            "mine",
        }
        with pytest.raises(sq.Rejected, match="no artifact name"):
            study.find_artifact("../../etc/passwd")
        with pytest.raises(sq.NotFound):
            study.artifact(tmp_path / "none.csv", group=run, artifact_type="mine")
    assert repr(kept).startswith("<Artifact ")


async def test_an_event_loop_imports_frames_and_samples_them(database: Database, tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": ["a", "b", "c", "d"], "kind": ["x", "y", "x", "x"]})
    async with sq.open_async(database_url=database.application_uri, home=tmp_path) as study:
        dataset = await study.import_dataset(frame, name="d", label_column="kind")
        again = await study.import_dataset(frame.to_pandas(), name="d", label_column="kind")
        few = await study.sample_dataset("d", name="few", rows=2, seed=1, where={"kind": "x"})
        group = await study.group("dataset", "few")
        parents = await group.parents()
        kept = await study.artifact([1, 2], group=group, artifact_type="results")
        assert await kept.load() == [1, 2]
        assert (await kept.save(tmp_path / "r.json")).read_bytes() == b"[1,2]"
    assert (dataset.imported, again.imported, again.dataset_id) == (True, False, dataset.dataset_id)
    assert (few.labels, few.parent_dataset_id) == (("x", "x"), dataset.dataset_id)
    assert [parent["name"] for parent in parents] == ["d"]


def test_what_becomes_no_file_is_refused() -> None:
    for value in (object(), np.array([{}], dtype=object), pd.DataFrame({"a": [1, "x"]})):
        with pytest.raises(sq.Rejected, match="becomes no"):
            file_of(value)
    file, extension = file_of(b"bytes")
    assert (value_of(file.read(), extension), extension) == (b"bytes", "bin")


@pytest.mark.parametrize("value", [float("nan"), {"nmi": [0.5, float("inf")]}, [({"ari": -float("inf")},)]])
def test_what_json_would_lose_is_refused(value: object) -> None:
    with pytest.raises(sq.Rejected, match="JSON has no NaN"):
        file_of(value)
