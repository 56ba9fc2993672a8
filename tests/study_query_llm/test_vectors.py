"""Vectors from Python."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import study_query_llm as sq
from tests.conftest import Database

TEXTS = ["a train to Rome", "the train to Paris", "bake a cake", "bake bread", "a train to Rome"]


def test_a_script_searches_exports_and_brings_vectors_in(database: Database, tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text\n" + "\n".join(TEXTS) + "\n")
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        study.import_dataset(tmp_path / "texts.csv", name="texts")
        with pytest.raises(sq.NotFound, match="5 of 5 texts have not been embedded"):
            study.vectors("texts", provider="local")
        with pytest.raises(sq.Rejected, match="no list of texts"):
            study.embed(TEXTS[0], provider="local")
        embedded = study.embed(TEXTS, provider="local", group="batch/trains")
        study.embed(["a cow"], provider="local", dimensions=64)
        vectors = study.vectors("texts", provider="local")
        near = study.similar("a train to Rome", limit=2, dimensions=512)
        by_vector = study.similar(embedded.vectors[2], limit=1)
        grouped = study.similar("a cow", dimensions=512, group="batch/trains")
        with pytest.raises(sq.Rejected, match="name one"):
            study.similar("a train")
        exported = study.export_embeddings(tmp_path / "v.parquet", dimensions=512, group="batch/trains")
        before = study.export_embeddings(tmp_path / "v.npy", file_format="npy", as_of=exported.position, dimensions=64)
        kept = study.import_vectors(np.eye(2), texts=["one", "two"], source="elsewhere.bin")
        with pytest.raises(sq.Rejected, match="no format"):
            study.export_embeddings(tmp_path / "v.xls", file_format="xls", dimensions=64)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, embedded.vectors)
    assert [row["text"] for row in near] == ["a train to Rome", "the train to Paris"]
    assert [row["text"] for row in by_vector] == ["bake a cake"]
    assert {row["text"] for row in grouped} == set(TEXTS)
    assert list(near.to_frame()["similarity"]) == [row["similarity"] for row in near]
    assert (exported.rows, exported.dimension) == (4, 512)  # equal texts were embedded once
    assert pq.read_table(tmp_path / "v.parquet")["text"].to_pylist() == TEXTS[:4]
    assert (before.rows, before.position) == (1, exported.position)
    assert np.load(tmp_path / "v.npy").shape == (1, 64)
    assert kept["source_name"] == "elsewhere.bin"
