from datetime import UTC, datetime
from decimal import Decimal

import pytest

from domain.errors import Rejected
from infrastructure.price_file import COLUMNS, parse_prices, read_price_table

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"


def price(table, provider, model, endpoint="e", at=NOW):
    return table.find(provider=provider, endpoint=endpoint, models=(model,), at=at)


def test_the_shipped_prices_are_read():
    table = read_price_table(None)
    mini = price(table, "openai", "gpt-4o-mini-2024-07-18", OPENAI)
    assert (mini.input, mini.cached_input, mini.output) == (Decimal("0.15"), Decimal("0.075"), Decimal("0.60"))
    assert price(table, "azure", "gpt-4o-mini", "https://x.openai.azure.com").input == Decimal("0.15")
    assert price(table, "openai", "text-embedding-3-small", OPENAI).output is None
    assert price(table, "local", "local-extract").input == 0
    assert price(table, "openai", "gpt-4o-mini", "http://localhost:8000/v1") is None
    assert price(table, "openai", "o3", OPENAI, datetime(2025, 6, 9, tzinfo=UTC)).input == 10
    assert price(table, "openai", "o3", OPENAI, datetime(2025, 6, 10, tzinfo=UTC)).input == 2


def test_a_file_of_ones_own_counts_before_them(tmp_path):
    own = tmp_path / "prices.csv"
    own.write_text(
        '\ufeff# by contract\nprovider,model,input,output,source\nOpenAI,gpt-4o-mini,0.1,0.4,"ours, from March"\n'
    )
    table = read_price_table(own)
    mini = price(table, "openai", "gpt-4o-mini-2024-07-18", OPENAI)
    assert (mini.input, mini.output, mini.source) == (Decimal("0.1"), Decimal("0.4"), "ours, from March")
    assert price(table, "openai", "gpt-4o", OPENAI).output == 10


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("openai,,m,x,,,,,", "line 3, column input: 'x' is no amount"),
        ("openai,,m,,,,,,", "line 3, column input: it is empty"),
        (",,m,1,,,,,", "line 3, column provider: it is empty"),
        ("openai,,,1,,,,,", "line 3, column model: it is empty"),
        ("openai,,m,-1,,,,,", "column input: -1 must lie between 0"),
        ("openai,,m,1,NaN,,,,", "column cached_input: NaN must lie between 0"),
        ("openai,,m,1,,1e9,,,", "column output: 1e9 must lie between 0"),
        ("openai,,m,1,,0.00000000001,,,", "with 10 decimals at most"),
        ("openai,,m,1,,,March,,", "column valid_from: 'March' is no day"),
        ("openai,,m,1,,,2026-03-01,2026-03-01,", "column valid_until: 2026-03-01 is not after 2026-03-01"),
        ("openai,,m,1", "column source: there are 4 cells under 9 columns"),
    ],
)
def test_a_bad_row_is_named_by_file_line_and_column(row, said):
    with pytest.raises(Rejected, match=rf"^own\.csv, .*{said}"):
        parse_prices(f"# remark\n{','.join(COLUMNS)}\n{row}\n", "own.csv")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no header"),
        ("provider,model\n", "column input: this column is missing"),
        ("provider,model,input,usd\n", "column usd: no such column"),
    ],
)
def test_a_header_that_is_none_is_rejected(text, said):
    with pytest.raises(Rejected, match=said):
        parse_prices(text, "own.csv")


def test_a_file_that_cannot_be_read_says_so(tmp_path):
    with pytest.raises(Rejected, match=r"nowhere\.csv can't be read: No such file"):
        read_price_table(tmp_path / "nowhere.csv")
    (tmp_path / "latin.csv").write_bytes(b"provider,model,input\n\xe9")
    with pytest.raises(Rejected, match="is not UTF-8"):
        read_price_table(tmp_path / "latin.csv")
