"""Similar texts, and vectors that go out and come in, from the command line."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.interfaces.cli.conftest import Study

TEXTS = ["a train to Rome", "the train to Paris", "bake a cake", "bake bread", "a cat sleeps"]


@pytest.fixture
def embedded(study_here: Study, tmp_path: Path) -> str:
    file = tmp_path / "texts.csv"
    file.write_text("text\n" + "\n".join(TEXTS) + "\n")
    assert study_here("dataset", "import", str(file), "--name", "texts").code == 0
    assert study_here("embed", "texts", "--provider", "local").code == 0
    return "texts"


def test_similar_texts_are_found_and_the_text_they_were_asked_with_is_not_one_of_them(
    study_here: Study, embedded: str
) -> None:
    first = study_here("similar", "a slow train to Rome", "--limit", "2", "--json").document
    assert [item["text"] for item in first["items"]] == ["a train to Rome", "the train to Paris"]
    assert 1 > first["items"][0]["similarity"] > first["items"][1]["similarity"]
    again = study_here("similar", "a slow train to Rome", "--limit", "10", "--json").document
    assert again["items"][:2] == first["items"]
    assert "a slow train to Rome" not in [item["text"] for item in again["items"]]
    calls = study_here("calls", "--modality", "embedding", "--json").document["items"]
    assert len(calls) == 2  # the dataset's, and one for the text, which was recorded and paid for once
    assert "a train to Rome" in study_here("similar", "a train to Rome", "--limit", "1").out
    assert study_here("similar", "x", "--as-of", "0", "--json").code == 3
    assert study_here("similar", "x", "--model", "none").code == 3
    assert study_here("similar", "x", "--group", "batch/none", "--json").code == 3
    assert study_here("similar", "x", "--limit", "0").code == 2
    assert study_here("similar", " ").code == 2


def test_a_text_that_was_searched_with_is_found_once_a_dataset_has_it(
    study_here: Study, embedded: str, tmp_path: Path
) -> None:
    asked = "the cat sleeps all day"
    study_here("similar", asked)
    assert asked not in study_here("similar", "a cat", "--json").out
    (tmp_path / "more.txt").write_text(asked)
    study_here("dataset", "import", str(tmp_path / "more.txt"), "--name", "more")
    study_here("embed", "more", "--provider", "local")
    found = study_here("similar", asked, "--limit", "1", "--json").document["items"]
    assert [(item["text"], item["similarity"]) for item in found] == [(asked, pytest.approx(1))]


@pytest.mark.parametrize("kind", ["npy", "parquet", "jsonl", "csv"])
def test_vectors_are_exported(study_here: Study, embedded: str, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"vectors.{kind}"
    study_here("similar", "not exported, since it was only searched with")
    exported = study_here("export", "embeddings", "--format", kind, "--out", str(out), "--json").document
    assert {"rows": 5, "dimension": 512, "provider": "local", "model": "local-ngrams"}.items() <= exported.items()
    if kind == "npy":
        assert np.load(out, allow_pickle=False).shape == (5, 512)
    elif kind == "parquet":
        assert pq.read_table(out)["text"].to_pylist() == TEXTS
    elif kind == "jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["text"] for row in rows] == TEXTS
        assert len({row["request_hash"] for row in rows}) == 5
    else:
        assert len(out.read_text().splitlines()) == 6


def test_what_can_not_be_exported_is_told(study_here: Study, embedded: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    assert study_here("export", "embeddings", "--format", "xlsx", "--out", out).code == 2
    assert study_here("export", "embeddings", "--format", "npy", "--out", out, "--group", "no/group").code == 3
    assert study_here("export", "embeddings", "--format", "npy", "--out", out, "--as-of", "0").code == 3
    assert study_here("export", "embeddings", "--format", "npy", "--out", str(tmp_path / "no" / "out")).code == 2
    assert not Path(out).exists()


def test_vectors_made_elsewhere_are_recorded_with_who_brought_them(study_here: Study, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3))
    (tmp_path / "t.csv").write_text("text\nthe one\nthe other\nthe third\n")
    kept = study_here("import", "vectors", str(tmp_path / "x.npy"), "--texts", str(tmp_path / "t.csv"), "--json")
    assert {"row_count": 3, "dimension": 3, "source_name": "x.npy"}.items() <= kept.document.items()
    history = study_here("history", "vectors", kept.document["vectors_id"], "--json").document["items"]
    assert [(event["event"], event["actor"]) for event in history] == [("vectors.imported.v1", kept.document["actor"])]
    dataset = study_here("dataset", "show", kept.document["dataset_name"], "--json").document
    assert dataset["row_count"] == 3
    again = study_here("import", "vectors", str(tmp_path / "x.npy"), "--json").document
    assert "`study similar` doesn't search in them" in study_here("import", "vectors", str(tmp_path / "x.npy")).out
    assert again["vectors_id"] == kept.document["vectors_id"]
    (tmp_path / "t.csv").write_text("text\nonly one\n")
    refused = study_here("import", "vectors", str(tmp_path / "x.npy"), "--texts", str(tmp_path / "t.csv"), "--json")
    assert (refused.code, refused.document["fields"]) == (2, ["texts"])
    np.save(tmp_path / "bad.npy", np.array([[np.nan, 1.0]]))
    assert study_here("import", "vectors", str(tmp_path / "bad.npy")).code == 2


def test_the_doctor_says_how_similar_texts_are_found(study_here: Study) -> None:
    checks = {check["check"]: check for check in study_here("doctor", "--json").document["items"]}
    assert checks["similarity search"]["ok"]
    assert "pgvector" in checks["similarity search"]["detail"]
