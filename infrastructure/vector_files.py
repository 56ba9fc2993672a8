"""Vectors as files: NPY, Parquet, JSON Lines and CSV, block by block."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from application.export_rows import Encoder, Format
from application.stored_vectors import Space, StoredRows
from domain.errors import StudyError
from infrastructure.encoding_pipe import Pipe
from infrastructure.spreadsheets import MARK, harmless

HASH_BYTES = 32
FIELDS = ("text", "request_hash", "call_id", "input_index", "model", "provider", "position", "vector")


class _Writer(Protocol):
    def write(self, rows: StoredRows) -> None: ...

    def end(self) -> None:
        """Write what comes last."""


class StreamedVectorEncoders:
    """Implements the port VectorEncoders."""

    def encoder(self, file_format: Format, space: Space, row_count: int, *, spreadsheet: bool) -> Encoder[StoredRows]:
        """See the port."""
        pipe = Pipe()
        writer = _Csv(pipe, space, harmless) if spreadsheet else WRITERS[file_format](pipe, space, row_count)
        return _Encoder(pipe, writer)


class _Encoder:
    """What a writer writes, as bytes."""

    def __init__(self, pipe: Pipe, writer: _Writer) -> None:
        self._pipe = pipe
        self._writer = writer

    def encode(self, batch: StoredRows) -> bytes:
        self._writer.write(batch)
        return self._pipe.take()

    def end(self) -> bytes:
        self._writer.end()
        return self._pipe.take()


class _Npy:
    """The matrix alone, (n, d) float32. Its header comes first, so that the number of rows must be known."""

    def __init__(self, file: Pipe, space: Space, row_count: int) -> None:
        self._file = file
        self._missing = row_count
        shape = (row_count, space.dimension)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def write(self, rows: StoredRows) -> None:
        self._missing -= len(rows.vectors)
        self._file.write(np.ascontiguousarray(rows.vectors, dtype="<f4").data)

    def end(self) -> None:
        if self._missing:
            raise StudyError(f"{abs(self._missing)} rows more or less were read than were counted; nothing was written")


class _Parquet:
    """A row group a block; the vectors are a FixedSizeList of float32."""

    def __init__(self, file: Pipe, space: Space) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._space = space
        vector: Any = pa.list_(pa.float32(), space.dimension)
        others: dict[str, Any] = {"input_index": pa.int32(), "position": pa.int64(), "vector": vector}
        self._schema = pa.schema([(name, others.get(name, pa.string())) for name in FIELDS])
        # Float32 of embeddings hardly compresses, and trying takes most of the time.
        compression: dict[str, Any] = {**dict.fromkeys(FIELDS[:-1], "zstd"), "vector.list.element": "none"}
        repeated: Any = ["call_id", "model", "provider"]
        self._writer = pq.ParquetWriter(file, self._schema, compression=compression, use_dictionary=repeated)

    def write(self, rows: StoredRows) -> None:
        import pyarrow as pa

        count = len(rows.vectors)
        same = np.zeros(count, dtype=np.int32)
        flat = np.ascontiguousarray(rows.vectors, dtype=np.float32).reshape(-1)
        columns = [
            pa.array(rows.texts, type=pa.string()),
            _hex_array(rows.request_hashes, count),
            _named(np.repeat(np.arange(len(rows.call_ids), dtype=np.int32), rows.counts), map(str, rows.call_ids)),
            pa.array(np.ascontiguousarray(rows.input_indexes)),
            _named(same, [self._space.model]),
            _named(same, [self._space.provider]),
            pa.array(np.ascontiguousarray(rows.positions)),
            pa.FixedSizeListArray.from_arrays(pa.array(flat), self._space.dimension),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def end(self) -> None:
        self._writer.close()


class _JsonLines:
    """One object a line."""

    def __init__(self, file: Pipe, space: Space) -> None:
        self._file = file
        self._space = space

    def write(self, rows: StoredRows) -> None:
        encode = msgspec.json.Encoder().encode
        for values in _values(rows, self._space):
            self._file.write(encode(dict(zip(FIELDS, values, strict=True))) + b"\n")

    def end(self) -> None:
        return None


class _Csv:
    """A line of names, then one line a vector, whose numbers are JSON in the last field."""

    def __init__(self, file: Pipe, space: Space, shown: Callable[[str], str] | None = None) -> None:
        if shown is not None:
            file.write(MARK)
        self._shown = shown or str
        self._text = io.StringIO(newline="")
        self._csv = csv.writer(self._text, lineterminator="\n")
        self._csv.writerow(FIELDS)
        self._file = file
        self._space = space

    def write(self, rows: StoredRows) -> None:
        encode = msgspec.json.Encoder().encode
        for text, *known, vector in _values(rows, self._space):
            shown = None if text is None else self._shown(str(text))
            self._csv.writerow([shown, *known, encode(vector).decode()])
        self._file.write(self._text.getvalue().encode())
        self._text.seek(0)
        self._text.truncate()

    def end(self) -> None:
        return None


WRITERS: dict[Format, Callable[[Pipe, Space, int], _Writer]] = {
    "npy": _Npy,
    "parquet": lambda file, space, _row_count: _Parquet(file, space),
    "jsonl": lambda file, space, _row_count: _JsonLines(file, space),
    "csv": lambda file, space, _row_count: _Csv(file, space),
}


def _values(rows: StoredRows, space: Space) -> Iterator[tuple[object, ...]]:
    """The values of FIELDS, row by row."""
    place = 0
    for call_id, count in zip(rows.call_ids, rows.counts.tolist(), strict=True):
        for row in range(place, place + count):
            request_hash = rows.request_hashes[row * HASH_BYTES : (row + 1) * HASH_BYTES]
            yield (
                rows.texts[row],
                request_hash.hex() if any(request_hash) else None,
                str(call_id),
                int(rows.input_indexes[row]),
                space.model,
                space.provider,
                int(rows.positions[row]),
                rows.vectors[row].tolist(),
            )
        place += count


def _hex_array(hashes: bytes, count: int) -> Any:
    """Hashes as hexadecimal text in Arrow; null where there is none."""
    import pyarrow as pa

    width = 2 * HASH_BYTES
    offsets = np.arange(0, width * (count + 1), width, dtype=np.int32)
    known = np.frombuffer(hashes, dtype=np.uint8).reshape(count, HASH_BYTES).max(axis=1) > 0
    valid = np.packbits(known, bitorder="little")
    texts, ends = pa.py_buffer(hashes.hex().encode()), pa.py_buffer(offsets.tobytes())
    return pa.StringArray.from_buffers(count, ends, texts, pa.py_buffer(valid.tobytes()))


def _named(indexes: NDArray[np.int32], names: Iterable[str]) -> Any:
    """The name of each index, as text in Arrow."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(indexes, pa.array(list(names), type=pa.string())).cast(pa.string())
