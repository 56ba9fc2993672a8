"""Given a file or a data frame, then its rows; or a refusal that names the line at fault."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from application.import_dataset import Table
from domain.errors import NotFound, Rejected
from infrastructure.table_files import ColumnarFiles, read_table, read_vectors, table_of, table_of_frame

ROWS = {"text": ["one", "zwölf", None], "n": ["1", "2", "3"]}


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", b'text,n\none,1\n\n"two\nlines",2\r\n', {"text": ["one", "two\nlines"], "n": ["1", "2"]}),
        ("a.csv", b"\xef\xbb\xbftext\nfirst\n", {"text": ["first"]}),
        ("a.tsv", b"text\tn\na,b\t1\n", {"text": ["a,b"], "n": ["1"]}),
        ("a.csv", b"text\n" + b"x" * 200_000 + b"\n", {"text": ["x" * 200_000]}),
        (
            "a.jsonl",
            b'{"text": "one"}\n\n{"text": null, "n": [1, true]}',
            {"text": ["one", None], "n": [None, "[1,true]"]},
        ),
        ("a.txt", b"one\r\n\ntwo\n", {"text": ["one", "", "two"]}),
        ("lines", b"one", {"text": ["one"]}),
        ("empty.txt", b"", {"text": []}),
    ],
)
def test_each_kind_of_file_becomes_columns_of_text(name, content, columns) -> None:
    assert table_of(content, name).columns == columns


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_read_when_they_are_named(encoding) -> None:
    assert table_of("text\nzwölf\n".encode(encoding), "a.csv", encoding=encoding).columns == {"text": ["zwölf"]}


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.csv", b"text\nok\nzw\xf6lf\n", r"a\.csv, line 3: byte 0xf6 at offset 10 is not UTF-8"),
        ("a.txt", "text".encode("utf-16"), r"a\.txt, line 1: byte 0xff at offset 0"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,a\n1,2\n", "line 1: a column name stands twice"),
        ("a.csv", b'a,b\n1,"x\ny\nz"\n1,2,3\n', "line 5: 3 fields where the header has 2"),
        ("a.csv", b'a,b\n1,2\n3,"open\n4,5\n', "line 3: unexpected end of data"),
        ("a.jsonl", b'{"a": 1}\n{"a": }\n', "line 2: JSON is malformed"),
        ("a.jsonl", b'{"a": 1}\n\n[1]\n', "line 3: not a JSON object"),
        ("a.parquet", b"no parquet", "not Parquet"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(name, content, why) -> None:
    with pytest.raises(Rejected, match=why):
        table_of(content, name)


@pytest.mark.parametrize("encoding", ["klingon", "hex", "a\0b", "rot13"])
def test_an_encoding_that_is_none_is_rejected(encoding) -> None:
    with pytest.raises(Rejected, match="no encoding of texts") as refused:
        table_of(b"text\n", "a.csv", encoding=encoding)
    assert refused.value.fields == ("encoding",)
    with pytest.raises(Rejected, match="is not ascii"):
        table_of("ö".encode(), "a.txt", encoding="ascii")


def test_parquet_holds_text_in_several_ways(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array([b"one", None], pa.binary()), "n": [1, 2], "list": [[1], None]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").columns == {"text": ["one", None], "n": ["1", "2"], "list": ["[1]", None]}
    pq.write_table(pa.table({"text": pa.array([b"ok", b"\xff"], pa.binary())}), tmp_path / "b.parquet")
    with pytest.raises(Rejected, match="Row 2, column 'text': not UTF-8"):
        read_table(tmp_path / "b.parquet")
    files = ColumnarFiles()
    assert files.from_parquet(files.to_parquet(Table(columns=ROWS))).columns == ROWS
    with pytest.raises(Rejected, match="half a character"):
        files.to_parquet(Table(columns={"text": ["\ud800"]}))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"text": ["one", "zwölf", None], "n": [1, 2, 3]}, index=[7, 8, 9]),
        pl.DataFrame({"text": ["one", "zwölf", None], "n": [1, 2, 3]}),
        pa.table({"text": ["one", "zwölf", None], "n": [1, 2, 3]}),
        [{"text": "one", "n": 1}, {"text": "zwölf", "n": 2}, {"n": 3}],
    ],
    ids=["pandas", "polars", "arrow", "rows"],
)
def test_data_frames_of_every_kind_become_columns_of_text(frame) -> None:
    assert table_of_frame(frame).columns == ROWS


def test_what_is_missing_in_a_pandas_frame_stays_missing() -> None:
    frame = pd.DataFrame({"text": ["a", np.nan, pd.NA], "many": [[1, 2], True, pd.NaT], 3: ["x", "y", "z"]})
    assert table_of_frame(frame).columns == {
        "text": ["a", None, None],
        "many": ["[1,2]", "true", None],
        "3": ["x", "y", "z"],
    }


def test_half_a_character_in_a_data_frame_is_told_with_its_row() -> None:
    with pytest.raises(Rejected, match=r"Row 2, column 'text': half a character, '\\ud800'"):
        table_of_frame([{"text": "whole"}, {"text": "half \ud800"}])
    with pytest.raises(Rejected, match="half a character"):
        table_of_frame([{"half \ud800": "whole"}])


def test_what_is_no_data_frame_is_rejected() -> None:
    with pytest.raises(Rejected, match="int is no data frame"):
        table_of_frame(3)
    for twice in (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]),
    ):
        with pytest.raises(Rejected, match="stands twice"):
            table_of_frame(twice)


def test_a_file_that_is_not_there_or_no_matrix_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(Rejected, match="can't be read"):
        read_table(tmp_path)
    np.save(tmp_path / "v.npy", np.zeros(3))
    with pytest.raises(Rejected, match="vectors are a matrix"):
        read_vectors(tmp_path / "v.npy")


def parquet(**columns: pa.Array) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_parquet_that_can_not_be_columns_of_text_is_rejected() -> None:
    twice = io.BytesIO()
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"]), twice)
    past_9999 = parquet(at=pa.array([2_534_023_008_000_000_000], pa.timestamp("us")))
    for content, why in (
        (twice.getvalue(), "A column name stands twice"),
        (past_9999, r"Column 'at' of type timestamp\[us\] can't be read as text"),
        (past_9999[:-20], "The file is not Parquet"),
        (b"", "The file is not Parquet"),
    ):
        with pytest.raises(Rejected, match=why):
            table_of(content, "a.parquet")


def test_an_encoding_that_can_not_replace_names_the_line_as_well() -> None:
    with pytest.raises(Rejected, match="line 2: byte 0xff"):
        table_of(b"text\n\xff\n", "a.csv", encoding="idna")


def test_what_never_ends_is_read_no_further_than_a_file_may_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.table_files.LARGEST_FILE_BYTES", 1000)
    with pytest.raises(Rejected, match="is larger than 1,000 bytes"):
        read_table(Path("/dev/zero"))
