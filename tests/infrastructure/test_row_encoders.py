"""Rows come back from every kind of file as they were."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from application.export_rows import OF_ROWS, Batch, Column, chosen_format
from domain.errors import Rejected
from infrastructure.row_encoders import StreamedRowEncoders

COLUMNS = (
    Column("name", "text"),
    Column("said", "json"),
    Column("tokens", "integer"),
    Column("latency_ms", "real"),
    Column("cost", "exact"),
    Column("at", "time"),
)
AT = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)
ROWS: list[tuple[Any, ...]] = [
    ("plain", '{"a": [1, 2]}', 3, 1.5, Decimal("0.0000000001"), AT),
    ('with "quotes", a comma\nand a line', '{\n "laid": "out"\n}', None, None, None, AT.replace(microsecond=0)),
    ("", "null", 2**53 + 1, 0.1, Decimal("9999999999.0000000001"), AT),
    ("Zürich 🚆 \u2028", None, 0, -0.0, Decimal(0), None),
    (None, '"text"', -1, 1e300, Decimal("1E+3"), AT),
]


def written(kind: str, *, spreadsheet: bool = False, rows: list[tuple[Any, ...]] = ROWS, at_once: int = 2) -> bytes:
    encoder = StreamedRowEncoders().encoder(kind, COLUMNS, spreadsheet=spreadsheet)  # type: ignore[arg-type]
    parts = [rows[start : start + at_once] for start in range(0, len(rows), at_once)]
    content = b"".join(encoder.encode(Batch(list(zip(*part, strict=True)), len(part))) for part in parts)
    return content + encoder.end()


def test_parquet_has_types_and_a_row_group_a_batch() -> None:
    file = pq.ParquetFile(pa.BufferReader(written("parquet")))
    assert file.num_row_groups == 3
    table = file.read()
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("cost").type == pa.decimal128(20, 10)
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS


def test_json_lines_hold_json_as_json_and_exact_numbers_as_text() -> None:
    lines = written("jsonl").decode().split("\n")
    assert lines.pop() == ""
    found = [json.loads(line) for line in lines]
    assert [row["name"] for row in found] == [row[0] for row in ROWS]
    assert [row["said"] for row in found] == [{"a": [1, 2]}, {"laid": "out"}, None, None, "text"]
    assert [row["cost"] for row in found] == ["0.0000000001", None, "9999999999.0000000001", "0", "1000"]
    assert found[0]["at"] == "2026-03-01T12:00:00.000250+00:00"


def test_csv_comes_back_as_it_was_and_an_empty_text_is_no_null(tmp_path: Any) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(written("csv"))
    kinds = ", ".join(
        f"'{name}': '{kind}'"
        for (name, _), kind in zip(
            COLUMNS, ("VARCHAR", "VARCHAR", "BIGINT", "DOUBLE", "DECIMAL(20,10)", "VARCHAR"), strict=True
        )
    )
    found = duckdb.sql(
        f"SELECT * FROM read_csv('{path}', header=true, columns={{{kinds}}}, allow_quoted_nulls=false)"
    ).fetchall()
    assert [row[:5] for row in found] == [row[:5] for row in ROWS]
    assert [row[5] for row in found][:2] == ["2026-03-01T12:00:00.000250Z", "2026-03-01T12:00:00.000000Z"]


def test_a_spreadsheet_gets_no_formulas_and_nothing_else_is_changed() -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "1-1", "'=1", "", None]
    rows = [(name, *ROWS[0][1:]) for name in names]
    content = written("csv", spreadsheet=True, rows=rows)
    assert content.startswith(b"\xef\xbb\xbf")
    shown = [line.split(",")[0].strip('"') for line in content.decode("utf-8-sig").splitlines()[1:]]
    assert shown == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'＝1", "1-1", "'=1", "", ""]
    assert b"'" not in written("csv", rows=[(name, *ROWS[0][1:]) for name in names[:7]])


@pytest.mark.parametrize("kind", OF_ROWS)
def test_a_file_of_no_rows_is_one_that_can_be_read(kind: str) -> None:
    content = written(kind, rows=[])
    match kind:
        case "parquet":
            assert pq.read_table(pa.BufferReader(content)).column_names == [name for name, _ in COLUMNS]
        case "csv":
            assert content.decode().strip().replace('"', "") == "name,said,tokens,latency_ms,cost,at"
        case _:
            assert content == b""


def test_another_format_is_refused_and_so_is_a_spreadsheet_that_is_no_csv() -> None:
    with pytest.raises(Rejected, match="use one of parquet, jsonl, csv"):
        chosen_format("npy", among=OF_ROWS)
    with pytest.raises(Rejected, match="spreadsheet is for csv"):
        chosen_format("parquet", spreadsheet=True)
