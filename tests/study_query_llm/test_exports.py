"""Exports and frames from Python."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import study_query_llm as sq
from study_query_llm.results import Rows
from tests.conftest import Database


def test_a_script_exports_calls_and_events(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        study.ask("Where is Rome?", provider="local")
        first = study.export("calls", tmp_path / "c.parquet")
        study.ask("Where is Paris?", provider="local", group="batch/paris")
        again = study.export("calls", tmp_path / "c.jsonl", file_format="jsonl", as_of=first.position)
        grouped = study.export("calls", tmp_path / "p.csv", file_format="csv", group="batch/paris", spreadsheet=True)
        found = study.export("calls", tmp_path / "f.parquet", search="rome", part="prompt")
        with pytest.raises(sq.Rejected, match="not by rank"):
            study.export("calls", tmp_path / "x", search="rome", order="rank")
        events = study.export("events", tmp_path / "e.parquet", kind="call", after=1)
        sums = study.export("analytics", tmp_path / "a.parquet", table="providers")
        days = study.export("analytics", tmp_path / "d.csv", file_format="csv", bucket="day", by="model")
        with pytest.raises(sq.Rejected, match="only a time series"):
            study.export("analytics", tmp_path / "x", table="errors", bucket="day")
        with pytest.raises(sq.NotFound, match="No call fits"):
            study.export("analytics", tmp_path / "x", provider="none")
        with pytest.raises(sq.Rejected, match="there are calls, embeddings, events"):
            study.export("everything", tmp_path / "x")
        with pytest.raises(sq.NotFound, match="embedded"):
            study.export("embeddings", tmp_path / "x")
        table = study.calls().to_arrow()
    assert (first.rows, again.rows, grouped.rows, found.rows, events.rows) == (1, 1, 1, 1, 3)
    assert pq.read_table(tmp_path / "e.parquet")["event"].to_pylist()[0] == "call.answered.v1"
    assert table.schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("cost").type == pa.decimal128(20, 10)
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (sums.rows, row["provider"], row["count"], row["cost"]) == (1, "local", 2, Decimal(0))
    assert isinstance(row["latency_ms_p95"], float)
    assert (days.rows, (tmp_path / "d.csv").read_text().startswith('"at","provider","model","calls"')) == (1, True)
    assert not (tmp_path / "x").exists()


def test_rows_become_tables_by_what_their_names_say() -> None:
    rows = Rows(
        [
            {"created_at": "2026-03-01T12:00:00Z", "cost": "0.0000045", "tokens": {"total": 3}, "odd": 1, "count": 1},
            {"created_at": None, "cost": None, "tokens": None, "odd": "text", "count": 1.5, "late": True},
        ]
    )
    table = rows.to_arrow()
    assert table.to_pylist() == [
        {
            "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "cost": Decimal("0.0000045"),
            "tokens": '{"total":3}',
            "odd": "1",
            "count": 1.0,
            "late": None,
        },
        {"created_at": None, "cost": None, "tokens": None, "odd": '"text"', "count": 1.5, "late": True},
    ]
    assert rows.to_polars().columns == table.column_names
    assert Rows([]).to_arrow().num_rows == Rows([]).to_polars().height == 0
    assert Rows([{"cost": {"usd": "1", "unknown": 0}}]).to_arrow().to_pylist() == [{"cost": '{"usd":"1","unknown":0}'}]
