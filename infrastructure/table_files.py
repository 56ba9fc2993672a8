"""Tables and arrays as files: CSV, JSON Lines, Parquet and plain lines come in; Parquet and NPY are kept."""

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from application.import_dataset import Table
from domain.errors import NotFound, Rejected

LARGEST_FILE_BYTES = 2 * 1024**3
LINES_COLUMN = "text"


class ColumnarFiles:
    """Implements the port TableFiles."""

    def to_parquet(self, table: Table) -> bytes:
        """A table as Parquet, every column of type string."""
        sink = io.BytesIO()
        columns = {name: pa.array(values, type=pa.string()) for name, values in table.columns.items()}
        pq.write_table(pa.table(columns), sink, compression="zstd")
        return sink.getvalue()

    def from_parquet(self, content: bytes) -> Table:
        """The table back again. Columns of other types become text. Raises Rejected for what is no Parquet."""
        try:
            found = pq.read_table(io.BytesIO(content))
        except pa.ArrowInvalid as error:
            raise Rejected(f"The file is not Parquet: {error}") from None
        return Table(columns={name: _as_text(found.column(name).to_pylist()) for name in found.column_names})

    def to_npy(self, array: NDArray[np.generic]) -> bytes:
        """An array as NPY."""
        sink = io.BytesIO()
        np.save(sink, array, allow_pickle=False)
        return sink.getvalue()

    def from_npy(self, content: bytes) -> NDArray[Any]:
        """The array back again; a pickle is rejected."""
        try:
            array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise Rejected(f"The file is not an NPY array: {error}") from None
        return array


def read_table(path: Path) -> Table:
    """Read a file by its ending: .csv, .tsv, .jsonl, .parquet; anything else is one text a line, in column `text`.

    Raises NotFound, and Rejected naming the line at fault.
    """
    content = read_bounded(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return ColumnarFiles().from_parquet(content)
    text = _decoded(content, path)
    if suffix in (".csv", ".tsv"):
        return _read_csv(text, "\t" if suffix == ".tsv" else ",", path)
    if suffix in (".jsonl", ".ndjson"):
        return _read_json_lines(text, path)
    return Table(columns={LINES_COLUMN: [line.rstrip("\r") for line in text.split("\n")]})


def read_vectors(path: Path) -> NDArray[np.float32]:
    """Read an NPY matrix as (n, d) float32. Raises NotFound, Rejected."""
    array = ColumnarFiles().from_npy(read_bounded(path))
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise Rejected(
            f"{path} holds {array.dtype} of shape {array.shape}; vectors are a matrix of numbers, one row a vector",
            fields=("vectors",),
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def read_bounded(path: Path) -> bytes:
    """A file's bytes. Raises NotFound, and Rejected when it is a folder, unreadable or over 2 GiB."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise Rejected(f"{path} is larger than {LARGEST_FILE_BYTES:,} bytes", fields=("file",))
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}") from None
    except OSError as error:
        raise Rejected(f"{path} can't be read: {error.strerror}", fields=("file",)) from None


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Rejected(f"{path}, line {line}: not UTF-8; save the file as UTF-8", fields=("file",)) from None


def _read_csv(text: str, delimiter: str, path: Path) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise Rejected(f"{path} is empty; a CSV file begins with a line of column names", fields=("file",))
        if len(set(header)) < len(header):
            raise Rejected(f"{path}, line 1: a column name stands twice", fields=("file",))
        rows = []
        for row in reader:
            if len(row) != len(header) and row:
                raise Rejected(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(header)}",
                    fields=("file",),
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise Rejected(f"{path}, line {reader.line_num}: {error}", fields=("file",)) from None
    return Table(columns={name: [row[place] for row in rows] for place, name in enumerate(header)})


def _read_json_lines(text: str, path: Path) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise Rejected(f"{path}, line {number}: {error}", fields=("file",)) from None
        if not isinstance(row, dict):
            raise Rejected(f"{path}, line {number}: not a JSON object", fields=("file",))
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    return Table(columns={name: _as_text([row.get(name) for row in rows]) for name in names})


def _as_text(values: list[Any]) -> list[str | None]:
    return [
        value
        if value is None or isinstance(value, str)
        else msgspec.json.encode(value).decode()
        if isinstance(value, (dict, list, bool))
        else str(value)
        for value in values
    ]
