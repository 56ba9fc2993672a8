"""Price tables as CSV: the one that comes with this version, and one of the user's own that counts before it."""

import csv
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path

from domain.errors import Rejected
from domain.pricing import Price, PriceTable

COLUMNS = (
    "provider",
    "endpoint",
    "model",
    "input",
    "cached_input",
    "output",
    "valid_from",
    "valid_until",
    "source",
)
AMOUNTS, DAYS, NEEDED = (
    ("input", "cached_input", "output"),
    ("valid_from", "valid_until"),
    ("provider", "model", "input"),
)
MOST_BYTES = 10_000_000
MOST_USD = Decimal(1_000_000)
MOST_PLACES = 10


def read_price_table(own: Path | None) -> PriceTable:
    """The shipped prices, and before them those of a file of the user's own. Raises Rejected."""
    shipped = parse_prices(files("infrastructure").joinpath("prices.csv").read_text("utf-8"), "prices.csv")
    return PriceTable(shipped) if own is None else PriceTable(_read(own), shipped)


def _read(path: Path) -> list[Price]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Rejected(f"{path} is longer than {MOST_BYTES:,} bytes", fields=("STUDY_PRICES",))
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise Rejected(
            f"STUDY_PRICES: {path} can't be read: {error.strerror}; name a CSV file, or leave the setting away",
            fields=("STUDY_PRICES",),
        ) from None
    except UnicodeDecodeError:
        raise Rejected(f"STUDY_PRICES: {path} is not UTF-8", fields=("STUDY_PRICES",)) from None
    return parse_prices(text, str(path))


def parse_prices(text: str, name: str) -> list[Price]:
    """Prices in the order of their rows; lines that begin with # are remarks. Raises Rejected naming the place."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise _wrong(name, 1, "provider", f"there is no header; the columns are {', '.join(COLUMNS)}")
    header = [column.strip() for column in next(csv.reader([lines[0][1]]))]
    if unknown := [column for column in header if column not in COLUMNS]:
        raise _wrong(name, lines[0][0], unknown[0], f"no such column; there are {', '.join(COLUMNS)}")
    if missing := [column for column in NEEDED if column not in header]:
        raise _wrong(name, lines[0][0], missing[0], "this column is missing")
    prices = []
    for number, line in lines[1:]:
        cells = next(csv.reader([line]))
        if len(cells) != len(header):
            raise _wrong(name, number, header[-1], f"there are {len(cells)} cells under {len(header)} columns")
        row = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
        prices.append(_price(row, name, number))
    return prices


def _price(row: dict[str, str], name: str, number: int) -> Price:
    for column in NEEDED:
        if not row[column]:
            raise _wrong(name, number, column, "it is empty")
    amounts = {column: _amount(row.get(column, ""), name, number, column) for column in AMOUNTS}
    days = {column: _day(row.get(column, ""), name, number, column) for column in DAYS}
    first, last = days["valid_from"], days["valid_until"]
    if first is not None and last is not None and first >= last:
        raise _wrong(name, number, "valid_until", f"{last} is not after {first}")
    needed = amounts["input"]
    if needed is None:
        raise _wrong(name, number, "input", "it is empty")
    return Price(
        provider=row["provider"].lower(),
        endpoint=row.get("endpoint") or None,
        model=row["model"],
        input=needed,
        cached_input=amounts["cached_input"],
        output=amounts["output"],
        valid_from=first,
        valid_until=last,
        source=row.get("source", ""),
    )


def _amount(cell: str, name: str, number: int, column: str) -> Decimal | None:
    if not cell:
        return None
    try:
        amount = Decimal(cell)
    except InvalidOperation:
        raise _wrong(name, number, column, f"{cell[:50]!r} is no amount; write USD a million tokens as 0.15") from None
    if not amount.is_finite() or not 0 <= amount <= MOST_USD or -int(amount.as_tuple().exponent) > MOST_PLACES:
        raise _wrong(
            name,
            number,
            column,
            f"{cell[:50]} must lie between 0 and {MOST_USD:,}, with {MOST_PLACES} decimals at most",
        )
    return amount


def _day(cell: str, name: str, number: int, column: str) -> date | None:
    try:
        return date.fromisoformat(cell) if cell else None
    except ValueError:
        raise _wrong(name, number, column, f"{cell[:50]!r} is no day; write 2026-03-01") from None


def _wrong(name: str, number: int, column: str, what: str) -> Rejected:
    return Rejected(f"{name}, line {number}, column {column}: {what}", fields=("STUDY_PRICES",))
