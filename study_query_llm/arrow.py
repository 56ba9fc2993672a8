"""Lists of rows as Arrow tables, by what the names of their columns say."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from domain.errors import Rejected
from interfaces.study import Json

if TYPE_CHECKING:
    import polars
    import pyarrow

EXACT = ("cost", "saved")  # USD


def arrow_of(rows: Sequence[Json]) -> "pyarrow.Table":
    """One column a name, in the order in which names come up; None where a row hasn't got it."""
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: _column(name, [row.get(name) for row in rows]) for name in names})


def polars_of(rows: Sequence[Json]) -> "polars.DataFrame":
    """The same in polars. Raises Rejected where it is not installed."""
    try:
        import polars
    except ImportError:
        raise Rejected("polars is not installed: pip install polars, or take to_arrow() or to_frame()") from None
    return polars.DataFrame(polars.from_arrow(arrow_of(rows)))


def _column(name: str, values: list[Any]) -> Any:
    import pyarrow as pa

    texts = all(value is None or isinstance(value, str) for value in values)
    if texts and (name.endswith("_at") or name == "at"):
        return pa.array(
            [None if value is None else _time(value) for value in values], type=pa.timestamp("us", tz="UTC")
        )
    if texts and name in EXACT:
        return pa.array([None if value is None else Decimal(value) for value in values], type=pa.decimal128(20, 10))
    kinds = {"number" if type(value) in (int, float) else type(value).__name__ for value in values if value is not None}
    if len(kinds) > 1 or kinds & {"dict", "list", "tuple"}:
        values = [None if value is None else msgspec.json.encode(value).decode() for value in values]
    return pa.array(values)


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
