"""One call of `events.append`, with its parameters as Postgres wants them: binary arrays, made in one go.

psycopg's own way of making sixteen typed arrays takes longer than all else that the writer does for an append.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakSet

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result
from psycopg.generators import execute

NAME = b"study_append"
SQL = (
    b"SELECT append_no, last_position, outcome, holder FROM events.append("
    b"$1::int[], $2::uuid[], $3::bigint[], $4::text[], $5::bytea[], "
    b"$6::int[], $7::text[], $8::bytea[], $9::bytea[], "
    b"$10::int[], $11::text[], $12::uuid[], $13::bigint, "
    b"$14::int[], $15::text[], $16::uuid[])"
)
TELL = b"SELECT pg_notify('study_events', '')"  # that there is something new; the function itself doesn't
ALL_BINARY = [pq.Format.BINARY] * 16
INT, BIGINT, TEXT, BYTEA, UUIDS = 23, 20, 25, 17, 2950  # the elements' types, by Postgres's own numbers
NOT_UNDERSTOOD = "what the server says can't be understood"
NULL = b"\xff\xff\xff\xff"

int4 = struct.Struct("!i").pack
int8 = struct.Struct("!q").pack
_head = struct.Struct("!iiiii").pack  # dimensions, whether there are nulls, type, length, first index
_empty = struct.Struct("!iii").pack

Row = tuple[int, int, str, UUID | None]  # append_no, last_position, outcome, holder


class AppendParameters(NamedTuple):
    """What `events.append` takes, as it travels; see its SQL for what each is."""

    append_nos: bytes
    ids: bytes
    versions: bytes
    topics: bytes
    states: bytes
    payload_rows: bytes
    parts: bytes
    bodies: bytes
    vector_blocks: bytes
    taking: bytes
    taken_keys: bytes
    taken_holders: bytes
    taking_process: bytes
    freeing: bytes
    freed_keys: bytes
    freed_holders: bytes


def ints(values: Iterable[int]) -> bytes:
    """An int[]."""
    return _array(INT, list(map(int4, values)))


def bigints(values: Iterable[int]) -> bytes:
    """A bigint[]."""
    return _array(BIGINT, list(map(int8, values)))


def texts(values: Iterable[str]) -> bytes:
    """A text[]. Raises UnicodeEncodeError for half a character."""
    return _array(TEXT, list(map(str.encode, values)))


def uuids(values: Iterable[UUID]) -> bytes:
    """A uuid[]."""
    return _array(UUIDS, [value.bytes for value in values])


def byteas(values: Sequence[bytes | None]) -> bytes:
    """A bytea[], None for null."""
    if None not in values:
        return _array(BYTEA, values)  # type: ignore[arg-type]
    pieces = (NULL if value is None else int4(len(value)) + value for value in values)
    return _head(1, 1, BYTEA, len(values), 1) + b"".join(pieces)


def _array(kind: int, elements: Sequence[bytes]) -> bytes:
    if not elements:
        return _empty(0, 0, kind)
    pieces = chain.from_iterable(zip(map(int4, map(len, elements)), elements, strict=True))
    return _head(1, 0, kind, len(elements), 1) + b"".join(pieces)


def send(line: pq.abc.PGconn, parameters: AppendParameters) -> None:
    """Send the call on a line that knows it, and don't wait for what is said. Raises psycopg.Error."""
    line.send_query_prepared(NAME, parameters, ALL_BINARY, pq.Format.BINARY)


def said(result: pq.abc.PGresult) -> tuple[int, list[Row]]:
    """The position before the batch, and what is said of each append that was not appended now.

    Raises psycopg.Error.
    """
    checked(result)
    try:
        rows = [_row(result, at) for at in range(result.ntuples)]
        return rows[0][1], rows[1:]
    except (IndexError, ValueError) as error:
        raise psycopg.OperationalError(NOT_UNDERSTOOD) from error


def checked(result: pq.abc.PGresult) -> pq.abc.PGresult:
    """What the server says, if it is no error. Raises psycopg.Error."""
    if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
        error = error_from_result(result)
        # One without SQLSTATE is libpq's own, which lost its place in what the server says.
        raise error if error.sqlstate else psycopg.OperationalError(str(error) or NOT_UNDERSTOOD)
    return result


class AppendCall:
    """Calls the function, prepared once a connection."""

    def __init__(self) -> None:
        self._prepared: WeakSet[psycopg.Connection[Any]] = WeakSet()

    def is_known_to(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether the call was prepared there."""
        return connection in self._prepared

    def __call__(self, connection: psycopg.Connection[Any], parameters: AppendParameters) -> tuple[int, list[Row]]:
        """Call it and wait; see `said`."""
        line = connection.pgconn
        if connection.autocommit:
            if connection not in self._prepared:
                line.send_prepare(NAME, SQL)
                _answered(connection)
                self._prepared.add(connection)
            send(line, parameters)
        else:
            connection.execute("SELECT")  # which begins the transaction, if none is under way
            # Unprepared, since psycopg forgets whatever a connection has prepared when a transaction is rolled back.
            line.send_query_params(SQL, parameters, param_formats=ALL_BINARY, result_format=pq.Format.BINARY)
        return said(_answered(connection))


def _answered(connection: psycopg.Connection[Any]) -> pq.abc.PGresult:
    """What the server says to what was sent last. Raises psycopg.Error."""
    return checked(connection.wait(execute(connection.pgconn))[-1])


def _row(result: pq.abc.PGresult, at: int) -> Row:
    number, position, outcome, holder = (result.get_value(at, column) for column in range(4))
    return (
        int.from_bytes(number or b""),
        int.from_bytes(position or b""),
        (outcome or b"").decode(),
        None if holder is None else UUID(bytes=holder),
    )
