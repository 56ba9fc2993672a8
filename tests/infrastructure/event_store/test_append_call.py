"""Binary arrays made by hand are the arrays that psycopg would have made."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import pq

from application.store_trouble import is_inputs_fault
from infrastructure.event_store.append_call import bigints, byteas, ints, said, texts, uuids
from tests.conftest import Database


@pytest.mark.parametrize(
    ("kind", "made", "values"),
    [
        ("int", ints, [1, -1, 0, 2**31 - 1]),
        ("bigint", bigints, [2**62, 0, -(2**63)]),
        ("text", texts, ["", "call.requested.v1", "größer 🎲"]),
        ("uuid", uuids, [UUID(int=1), UUID(int=2**128 - 1)]),
        ("bytea", byteas, [b"", b"\x00\xff", b"x" * 70_000]),
        ("bytea", byteas, [None, b"a", None, b""]),
        ("bytea", byteas, [None]),
    ],
)
@pytest.mark.parametrize("is_empty", [False, True])
def test_an_array_is_read_as_the_values_it_was_made_of(
    database: Database, kind: str, made: Callable[[Any], bytes], values: Sequence[Any], is_empty: bool
) -> None:
    wanted = [] if is_empty else values
    with psycopg.connect(database.application_uri) as connection:
        result = connection.pgconn.exec_params(
            f"SELECT ($1::{kind}[])::text".encode(), [made(wanted)], param_formats=[pq.Format.BINARY]
        )
        assert result.status == pq.ExecStatus.TUPLES_OK
        row = connection.execute(f"SELECT (%s::{kind}[])::text", [list(wanted)]).fetchone()
    found = result.get_value(0, 0)
    assert found is not None
    assert row == (found.decode(),)


def test_an_answer_that_is_not_understood_is_no_refusal(database: Database) -> None:
    """The batch may have landed, so that it is to be sent again."""
    with psycopg.connect(database.application_uri) as connection:
        no_rows = connection.pgconn.exec_(b"SELECT 1 WHERE false")
        no_text = connection.pgconn.exec_params(
            b"SELECT 1, 1::bigint, '\\xff'::bytea, NULL::uuid", [], result_format=pq.Format.BINARY
        )
        libpqs_own = connection.pgconn.make_empty_result(pq.ExecStatus.FATAL_ERROR)
    for answer in (no_rows, no_text, libpqs_own):
        with pytest.raises(psycopg.OperationalError) as told:
            said(answer)
        assert told.value.sqlstate is None
        assert not is_inputs_fault(told.value)
