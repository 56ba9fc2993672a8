"""Tables and arrays as files: CSV, JSON Lines, Parquet and plain lines come in; Parquet and NPY are kept."""

import csv
import io
import os
from pathlib import Path, PurePath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from application.import_dataset import Table
from domain.errors import NotFound, Rejected

LARGEST_FILE_BYTES = 2 * 1024**3
LINES_COLUMN = "text"
NPY_BEGINS = b"\x93NUMPY"
LARGEST_FIELD_CHARACTERS = 16 * 1024 * 1024

# The module's own limit is 128 KiB a field, which a long document exceeds; it can be set only for all at once.
csv.field_size_limit(LARGEST_FIELD_CHARACTERS)


class ColumnarFiles:
    """Implements the port TableFiles."""

    def to_parquet(self, table: Table) -> bytes:
        """A table as Parquet, every column of type string."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = io.BytesIO()
        try:
            columns = {name: pa.array(values, type=pa.string()) for name, values in table.columns.items()}
        except UnicodeEncodeError as error:
            raise Rejected(f"A text holds half a character, {error.object[error.start]!r}", fields=("file",)) from None
        pq.write_table(pa.table(columns), sink, compression="zstd")
        return sink.getvalue()

    def from_parquet(self, content: bytes) -> Table:
        """The table back again. Columns of other types become text. Raises Rejected for what is no Parquet."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            names = pq.read_schema(io.BytesIO(content)).names
            if len(set(names)) < len(names):
                raise Rejected("A column name stands twice in the Parquet file", fields=("file",))
            found = pq.read_table(io.BytesIO(content))
        except (pa.ArrowException, OSError) as error:
            raise Rejected(f"The file is not Parquet: {error}", fields=("file",)) from None
        return Table(columns={name: _as_text(_values(found.column(name), name)) for name in found.column_names})

    def to_npy(self, array: NDArray[np.generic]) -> bytes:
        """An array as NPY."""
        sink = io.BytesIO()
        np.save(sink, array, allow_pickle=False)
        return sink.getvalue()

    def from_npy(self, content: bytes) -> NDArray[Any]:
        """The array back again; a pickle is rejected."""
        if not content.startswith(NPY_BEGINS):
            raise Rejected("The file is not an NPY array, which `numpy.save` writes")
        try:
            array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise Rejected(f"The file is not an NPY array: {error}") from None
        return array


def read_table(path: Path, *, encoding: str | None = None) -> Table:
    """Read a file by its ending: .csv, .tsv, .jsonl, .parquet; anything else is one text a line, in column `text`.

    encoding: of text files; without it, UTF-8. Raises NotFound, and Rejected naming the line at fault.
    """
    return table_of(read_bounded(path), str(path), encoding=encoding)


def table_of(content: bytes, name: str, *, encoding: str | None = None) -> Table:
    """The same for a file's bytes, under a name that errors call it by."""
    suffix = PurePath(name).suffix.lower()
    if suffix == ".parquet":
        return ColumnarFiles().from_parquet(content)
    text = _decoded(content, name, encoding)
    if suffix in (".csv", ".tsv"):
        return _read_csv(text, "\t" if suffix == ".tsv" else ",", name)
    if suffix in (".jsonl", ".ndjson"):
        return _read_json_lines(text, name)
    lines: list[str | None] = [line.rstrip("\r") for line in text.split("\n")]
    # What follows the last line's end is no line.
    return Table(columns={LINES_COLUMN: lines[:-1] if lines[-1] == "" else lines})


def table_of_frame(frame: Any) -> Table:
    """A pandas or polars data frame, an Arrow table, or a list of rows, as text. Raises Rejected."""
    columns: dict[str, list[Any]]
    if isinstance(frame, list) and all(isinstance(row, dict) for row in frame):
        columns = {name: [row.get(name) for row in frame] for name in dict.fromkeys(n for row in frame for n in row)}
    elif type(frame).__module__.partition(".")[0] == "pandas" and hasattr(frame, "columns"):
        columns = _columns_of_pandas(frame)
    elif hasattr(frame, "__arrow_c_stream__"):
        import pyarrow as pa

        found = pa.table(frame)
        if len(set(found.column_names)) < len(found.column_names):
            raise Rejected("A column name stands twice in the data frame", fields=("file",))
        columns = {name: _python_values(found.column(name), name) for name in found.column_names}
    else:
        raise Rejected(
            f"{type(frame).__name__} is no data frame; give a pandas or polars one, an Arrow table, rows, or a file",
            fields=("file",),
        )
    texts = {str(name): _as_text(values) for name, values in columns.items()}
    for name, values in texts.items():
        _check_writable(values, name)
    return Table(columns=texts)


def _check_writable(values: list[str | None], name: str) -> None:
    """Raises Rejected naming the first row that no file can hold: Python's texts may have half a character."""
    for row, value in enumerate(values, start=1):
        try:
            name.encode()
            if value is not None:
                value.encode()
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise Rejected(f"Row {row}, column {name!a}: half a character, {half!r}", fields=("file",)) from None


def _columns_of_pandas(frame: Any) -> dict[str, list[Any]]:
    from pandas import isna
    from pandas.api.types import is_scalar

    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise Rejected("A column name stands twice in the data frame", fields=("file",))
    return {
        name: [
            None if is_scalar(value) and isna(value) else value
            for value in frame.iloc[:, place].astype(object).tolist()
        ]
        for place, name in enumerate(names)
    }


def read_vectors(path: Path) -> NDArray[np.float32]:
    """Read an NPY matrix as (n, d) float32. Raises NotFound, Rejected."""
    array = ColumnarFiles().from_npy(read_bounded(path))
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise Rejected(
            f"{path} holds {array.dtype} of shape {array.shape}; vectors are a matrix of numbers, one row a vector",
            fields=("vectors",),
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _values(column: Any, name: str) -> list[Any]:
    """A column's values; bytes that some writers keep texts as are read as UTF-8."""
    import pyarrow as pa

    values = _python_values(column, name)
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        return values
    for row, value in enumerate(values):
        if value is not None:
            try:
                values[row] = value.decode()
            except UnicodeDecodeError:
                raise Rejected(f"Row {row + 1}, column {name!r}: not UTF-8", fields=("file",)) from None
    return values


def _python_values(column: Any, name: str) -> list[Any]:
    """A column's values as Python has them. Raises Rejected for what it has none for, such as a time past year 9999."""
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError, pa.ArrowException) as error:
        raise Rejected(
            f"Column {name!r} of type {column.type} can't be read as text: {error}", fields=("file",)
        ) from None
    return values


def read_bounded(path: Path) -> bytes:
    """A file's bytes. Raises NotFound, and Rejected when it is a folder, unreadable or over 2 GiB."""
    try:
        with path.open("rb") as file:
            # A pipe or a device doesn't say how long it is, or never ends.
            size = os.fstat(file.fileno()).st_size
            content = b"" if size > LARGEST_FILE_BYTES else file.read(LARGEST_FILE_BYTES + 1)
        if max(size, len(content)) > LARGEST_FILE_BYTES:
            raise Rejected(f"{path} is larger than {LARGEST_FILE_BYTES:,} bytes", fields=("file",))
        return content
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}") from None
    except OSError as error:
        raise Rejected(f"{path} can't be read: {error.strerror}", fields=("file",)) from None


def _decoded(content: bytes, name: str, encoding: str | None) -> str:
    wanted = encoding or "utf-8"
    try:
        text = content.decode(wanted)
    except UnicodeDecodeError as error:
        line = _line_ends(content[: error.start], wanted) + 1
        raise Rejected(
            f"{name}, line {line}: byte 0x{content[error.start]:02x} at offset {error.start:,} is not "
            f"{encoding or 'UTF-8'}; save the file as UTF-8, or name its encoding, such as latin-1 or utf-16",
            fields=("file", "encoding"),
        ) from None
    except (LookupError, ValueError):
        raise Rejected(
            f"{wanted[:40]!r} is no encoding of texts; use one such as utf-8, latin-1, cp1252 or utf-16",
            fields=("encoding",),
        ) from None
    return text.removeprefix("\ufeff")


def _line_ends(content: bytes, encoding: str) -> int:
    try:
        return content.decode(encoding, "replace").count("\n")
    except UnicodeError:  # an encoding that can't replace, such as idna
        return content.count(b"\n")


def _read_csv(text: str, delimiter: str, name: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1  # the line on which a row begins; one with line ends in its fields goes over several
    rows = []
    try:
        header = next(reader, None)
        if not header:
            raise Rejected(f"{name} is empty; a CSV file begins with a line of column names", fields=("file",))
        if len(set(header)) < len(header):
            raise Rejected(f"{name}, line 1: a column name stands twice", fields=("file",))
        begins = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                raise Rejected(
                    f"{name}, line {begins}: {len(row)} fields where the header has {len(header)}", fields=("file",)
                )
            if row:
                rows.append(row)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise Rejected(f"{name}, line {begins}: {error}", fields=("file",)) from None
    return Table(columns={column: [row[place] for row in rows] for place, column in enumerate(header)})


def _read_json_lines(text: str, name: str) -> Table:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Rejected(f"{name}, line {number}: {error}", fields=("file",)) from None
        if not isinstance(row, dict):
            raise Rejected(f"{name}, line {number}: not a JSON object", fields=("file",))
        rows.append(row)
    names = list(dict.fromkeys(column for row in rows for column in row))
    return Table(columns={column: _as_text([row.get(column) for row in rows]) for column in names})


def _as_text(values: list[Any]) -> list[str | None]:
    return [value if value is None or isinstance(value, str) else _text_of(value) for value in values]


def _text_of(value: Any) -> str:
    if isinstance(value, (dict, list, bool)):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)
