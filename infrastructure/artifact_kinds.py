"""What files say of themselves: the shape of arrays and tables, read without loading them where that can be."""

import csv
import io
from typing import Any, BinaryIO

import msgspec
import numpy as np

from application.keep_file import Described
from domain.errors import Rejected

LARGEST_JSON_TO_READ = 256 * 1024 * 1024  # bytes; a larger one is kept without a shape
COLUMNS_TOLD = 200


class KnownKinds:
    """Implements the port FileKinds."""

    def describe(self, file: BinaryIO, extension: str) -> Described:
        """The shape of an array or a table. Raises Rejected when the file is not what its ending says."""
        file.seek(0)
        look = {"npy": _npy, "parquet": _parquet, "csv": _csv, "json": _json}.get(extension)
        if look is None:
            return Described()
        try:
            return look(file)
        finally:
            file.seek(0)


def _npy(file: BinaryIO) -> Described:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except ValueError as error:
        raise _not("an NPY array", str(error)) from None
    if dtype.hasobject:
        raise _not("an NPY array that can be read", "it holds pickled objects, which are never loaded")
    return Described(shape=tuple(int(length) for length in shape), metadata={"dtype": str(dtype)})


def _parquet(file: BinaryIO) -> Described:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(file)
    except pa.ArrowException as error:
        raise _not("Parquet", str(error)) from None
    names = found.schema_arrow.names
    return Described(shape=(found.metadata.num_rows, len(names)), metadata={"columns": names[:COLUMNS_TOLD]})


def _csv(file: BinaryIO) -> Described:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = next(reader, [])
        rows = sum(1 for row in reader if row)
    except UnicodeDecodeError:
        raise _not("CSV in UTF-8", f"near line {reader.line_num + 1}") from None
    except csv.Error as error:
        raise _not("CSV", f"line {reader.line_num}: {error}") from None
    finally:
        text.detach()
    return Described(shape=(rows, len(header)), metadata={"columns": header[:COLUMNS_TOLD]})


def _json(file: BinaryIO) -> Described:
    size = file.seek(0, io.SEEK_END)
    if size > LARGEST_JSON_TO_READ:
        return Described()
    file.seek(0)
    try:
        value = msgspec.json.decode(file.read())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _not("JSON", str(error)) from None
    return Described(shape=_shape_of(value))


def _shape_of(value: Any) -> tuple[int, ...] | None:
    """The lengths of lists within lists as far as they are all the same; None for what is no list."""
    if not isinstance(value, list):
        return None
    if not value or not all(isinstance(each, list) for each in value):
        return (len(value),)
    inner = {_shape_of(each) for each in value}
    return (len(value), *(inner.pop() or ())) if len(inner) == 1 else (len(value),)


def _not(what: str, why: str) -> Rejected:
    return Rejected(f"The file is not {what}: {why}", fields=("file",))
