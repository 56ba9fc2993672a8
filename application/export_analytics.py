"""Calls added up, as a file: one row a bucket of time, a model or a kind of error."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from application.export_rows import OF_ROWS, Batch, Column, Export, Kind, RowEncoders, chosen_format
from domain.errors import NotFound

TABLES = ("timeseries", "providers", "errors", "summary")
EXACT = ("cost", "saved")


class ExportAnalytics:
    """Exports what the analytics answered; there are never so many rows that they need be streamed."""

    def __init__(self, encoders: RowEncoders) -> None:
        self._encoders = encoders

    def __call__(
        self, file_format: str, items: Sequence[dict[str, Any]], *, position: int, spreadsheet: bool = False
    ) -> Export[Batch]:
        """A row an item; its parts become columns, as latency_ms_p95. Raises Rejected, NotFound for no item."""
        chosen = chosen_format(file_format, spreadsheet=spreadsheet, among=OF_ROWS)
        if not items:
            raise NotFound("No call fits; leave some of the filters out")
        rows = [_flat(item) for item in items]
        columns = [Column(name, _kind(name, [row.get(name) for row in rows])) for name in rows[0]]
        batch = Batch([[_value(row.get(name), kind) for row in rows] for name, kind in columns], len(rows))

        async def batches() -> AsyncIterator[Batch]:
            yield batch

        async def count() -> int:
            return batch.rows

        return Export(
            "analytics",
            chosen,
            position,
            self._encoders.encoder(chosen, columns, spreadsheet=spreadsheet),
            batches(),
            rows_of=lambda each: each.rows,
            count=count,
        )


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{part}": each for part, each in value.items()}
        else:
            flat[name] = value
    return flat


def _kind(name: str, values: Sequence[Any]) -> Kind:
    known = [value for value in values if value is not None]
    if name in EXACT:
        return "exact"
    if name == "at" or name.endswith("_at"):
        return "time"
    if any(isinstance(value, list) for value in known):
        return "json"
    if _measured(name) or any(isinstance(value, float) for value in known):
        return "real"
    # A column of which nothing is known is one of numbers: a name is always known.
    return "integer" if all(isinstance(value, int) for value in known) else "text"


def _measured(name: str) -> bool:
    return "_ms" in name or name.endswith(("_mean", "_rate", "_per_call"))


def _value(value: Any, kind: Kind) -> Any:
    match kind:
        case "exact":
            return None if value is None else Decimal(value)
        case "time":
            return None if value is None else datetime.fromisoformat(value)
        case "json":
            return None if value is None else msgspec.json.encode(value).decode()
    return value
