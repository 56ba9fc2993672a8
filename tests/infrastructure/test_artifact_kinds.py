"""Given a file, then its shape; or a refusal when it is not what its ending says."""

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from domain.errors import Rejected
from infrastructure.artifact_kinds import KnownKinds


def npy(array: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", "y", None]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("extension", "content", "shape", "metadata"),
    [
        ("npy", npy(np.zeros((4, 3), "<f4")), (4, 3), {"dtype": "float32"}),
        ("npy", npy(np.float64(1)), (), {"dtype": "float64"}),
        ("parquet", parquet(), (3, 2), {"columns": ["a", "b"]}),
        ("csv", b'\xef\xbb\xbfa,b\n1,"two\nlines"\n\n3,4\n', (2, 2), {"columns": ["a", "b"]}),
        ("csv", b"", (0, 0), {"columns": []}),
        ("json", b"[[1, 2], [3, 4], [5, 6]]", (3, 2), {}),
        ("json", b"[[1, 2], [3]]", (2,), {}),
        ("json", b'[{"a": 1}]', (1,), {}),
        ("json", b"[]", (0,), {}),
        ("json", b'{"a": [1]}', None, {}),
        ("txt", b"\xff anything", None, {}),
    ],
)
def test_arrays_and_tables_have_a_shape(extension, content, shape, metadata) -> None:
    file = io.BytesIO(content)
    found = KnownKinds().describe(file, extension)
    assert (found.shape, found.metadata) == (shape, metadata)
    assert (file.tell(), file.closed) == (0, False)


@pytest.mark.parametrize(
    ("extension", "content", "why"),
    [
        ("npy", b"no array", "not an NPY array"),
        ("npy", b"", "not an NPY array"),
        ("npy", pickle.dumps([1]), "not an NPY array"),
        ("npy", npy(np.array([{}], dtype=object)), "never loaded"),
        ("parquet", b"PAR1 and nothing", "not Parquet"),
        ("csv", b"a,b\n\xff,2\n", "not CSV in UTF-8: near line"),
        ("csv", b'a\n"open', "not CSV: line 2"),
        ("json", b'{"a":', "not JSON"),
        ("json", b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_not_what_it_says_is_rejected(extension, content, why) -> None:
    with pytest.raises(Rejected, match=why):
        KnownKinds().describe(io.BytesIO(content), extension)
