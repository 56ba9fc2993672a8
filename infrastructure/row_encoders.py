"""Tables as files: Parquet, JSON Lines and CSV, batch by batch.

CSV is exact: what is read back is what was recorded, unless it is made for spreadsheets.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from application.export_rows import Batch, Column, Encoder, Format, Kind
from infrastructure.encoding_pipe import Pipe
from infrastructure.spreadsheets import MARK, harmless

EXACT_DIGITS, EXACT_SCALE = 20, 10


class StreamedRowEncoders:
    """Implements the port RowEncoders."""

    def encoder(self, file_format: Format, columns: Sequence[Column], *, spreadsheet: bool) -> Encoder[Batch]:
        """See the port."""
        if file_format == "parquet":
            return _Parquet(columns)
        return _Csv(columns, spreadsheet=spreadsheet) if file_format == "csv" else _JsonLines(columns)


class _Parquet:
    """A row group a batch. JSON is text, times are timestamps in UTC, exact numbers decimals."""

    def __init__(self, columns: Sequence[Column]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pipe = Pipe()
        self._schema = pa.schema([(name, _arrow_type(kind)) for name, kind in columns])
        self._writer = pq.ParquetWriter(self._pipe, self._schema, compression="zstd")

    def encode(self, batch: Batch) -> bytes:
        import pyarrow as pa

        arrays = [pa.array(values, type=field.type) for values, field in zip(batch.columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(table, row_group_size=max(1, batch.rows))
        return self._pipe.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._pipe.take()


class _JsonLines:
    """One object a line; JSON stands in it as JSON, and exact numbers are text."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [name for name, _ in columns]
        self._shown = [IN_JSON.get(kind) for _, kind in columns]

    def encode(self, batch: Batch) -> bytes:
        columns = [
            values if shown is None else [None if value is None else shown(value) for value in values]
            for values, shown in zip(batch.columns, self._shown, strict=True)
        ]
        rows = zip(*columns, strict=True)
        return msgspec.json.Encoder().encode_lines(dict(zip(self._names, row, strict=True)) for row in rows)

    def end(self) -> bytes:
        return b""


class _Csv:
    """A line of names, then a line a row. A text is quoted, and nothing at all is null."""

    def __init__(self, columns: Sequence[Column], *, spreadsheet: bool) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self._pipe = Pipe()
        self._kinds = [kind for _, kind in columns]
        self._schema = pa.schema(
            [(name, _arrow_type(kind) if kind in ("integer", "real") else pa.string()) for name, kind in columns]
        )
        self._spreadsheet = spreadsheet
        if spreadsheet:
            self._pipe.write(MARK)
        self._writer = csv.CSVWriter(self._pipe, self._schema)

    def encode(self, batch: Batch) -> bytes:
        import pyarrow as pa

        arrays = []
        for values, kind, field in zip(batch.columns, self._kinds, self._schema, strict=True):
            shown = harmless if self._spreadsheet and kind == "text" else IN_CSV.get(kind)
            known = values if shown is None else [None if value is None else shown(value) for value in values]
            arrays.append(pa.array(known, type=field.type))
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        return self._pipe.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._pipe.take()


def _arrow_type(kind: Kind) -> Any:
    import pyarrow as pa

    match kind:
        case "integer":
            return pa.int64()
        case "real":
            return pa.float64()
        case "exact":
            return pa.decimal128(EXACT_DIGITS, EXACT_SCALE)
        case "time":
            return pa.timestamp("us", tz="UTC")
    return pa.string()


def _json(text: str) -> msgspec.Raw:
    """JSON on one line: what a provider sent may be laid out."""
    encoded = text.encode()
    return msgspec.Raw(msgspec.json.format(encoded, indent=-1) if b"\n" in encoded or b"\r" in encoded else encoded)


def _exact(number: Decimal) -> str:
    return format(number, "f")


def _time(moment: datetime) -> str:
    """In one width, so that no reader guesses wrong from the first rows."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


IN_JSON: dict[Kind, Callable[[Any], Any]] = {"json": _json, "exact": _exact, "time": datetime.isoformat}
IN_CSV: dict[Kind, Callable[[Any], Any]] = {"exact": _exact, "time": _time}
