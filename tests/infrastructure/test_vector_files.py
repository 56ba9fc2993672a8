"""Vectors come back from every kind of file as they were, and a file is there whole or not at all."""

import csv
import json
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from application.stored_vectors import Space, StoredRows
from domain.errors import StudyError
from infrastructure.vector_files import StreamedVectorEncoders
from infrastructure.whole_files import whole_file

SPACE = Space(embedder=1, dimension=5, provider="openai", endpoint="https://api", model="e", texts=6, last_position=30)
VECTORS = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
HASHES = [bytes([number]) * 32 for number in range(6)]  # the first is that of no text
TEXTS = ["plain", 'with "quotes", a comma', "line\nbreak", "Zürich 🚆", None, ""]


def blocks():
    for part, ids, counts in ((slice(0, 4), [1, 2], [3, 1]), (slice(4, 6), [3], [2])):
        yield StoredRows(
            vectors=VECTORS[part],
            texts=TEXTS[part],
            request_hashes=b"".join(HASHES[part]),
            call_ids=[UUID(int=number) for number in ids],
            counts=np.array(counts),
            input_indexes=np.array([0, 1, 2, 0, 0, 1][part], dtype=np.int32),
            positions=np.array([10, 10, 10, 20, 30, 30][part]),
        )


def written(tmp_path, kind):
    path = tmp_path / f"vectors.{kind}"
    encoder = StreamedVectorEncoders().encoder(kind, SPACE, 6, spreadsheet=False)
    with whole_file(path) as file:
        for rows in blocks():
            file.write(encoder.encode(rows))
        file.write(encoder.end())
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    return path


EXPECTED = [
    {
        "text": TEXTS[row],
        "request_hash": HASHES[row].hex() if row else None,
        "call_id": str(UUID(int=[1, 1, 1, 2, 3, 3][row])),
        "input_index": [0, 1, 2, 0, 0, 1][row],
        "model": "e",
        "provider": "openai",
        "position": [10, 10, 10, 20, 30, 30][row],
        "vector": VECTORS[row].tolist(),
    }
    for row in range(6)
]


def test_npy_holds_the_matrix(tmp_path):
    found = np.load(written(tmp_path, "npy"), allow_pickle=False)
    assert found.dtype == np.dtype("<f4")
    assert np.array_equal(found, VECTORS)


def test_parquet_holds_vectors_as_lists_of_a_fixed_size(tmp_path):
    found = pq.read_table(written(tmp_path, "parquet"))
    assert found.schema.field("vector").type == pa.list_(pa.float32(), 5)
    assert found.to_pylist() == EXPECTED
    assert np.array_equal(found["vector"].combine_chunks().flatten().to_numpy().reshape(6, 5), VECTORS)


def test_json_lines_hold_one_object_a_vector(tmp_path):
    with written(tmp_path, "jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == EXPECTED


def test_csv_holds_the_numbers_as_json(tmp_path):
    with written(tmp_path, "csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["vector"]) for row in rows] == VECTORS.tolist()
    assert [row["text"] for row in rows] == [text or "" for text in TEXTS]
    assert [row["position"] for row in rows] == ["10", "10", "10", "20", "30", "30"]


def test_a_spreadsheet_gets_no_formulas(tmp_path):
    encoder = StreamedVectorEncoders().encoder("csv", SPACE, 6, spreadsheet=True)
    rows = next(blocks())
    content = encoder.encode(rows._replace(texts=["=1+1", "plain", "-5", None])) + encoder.end()
    found = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert [row["text"] for row in found] == ["'=1+1", "plain", "'-5", ""]


def test_a_matrix_with_other_rows_than_were_counted_is_an_error():
    encoder = StreamedVectorEncoders().encoder("npy", SPACE, 6, spreadsheet=False)
    encoder.encode(next(blocks()))
    with pytest.raises(StudyError, match="2 rows"):
        encoder.end()
