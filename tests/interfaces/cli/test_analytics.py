"""Many calls at once, from the command line."""

import re
import shlex
from pathlib import Path

import pytest

from tests.interfaces.cli.conftest import ROOT, Study

PAGE = ROOT / "docs" / "how-to" / "analytics.md"


def test_numbers_are_shown_to_people_and_programs(study_here: Study) -> None:
    for prompt in ("Name three primes.", "Name a square."):
        study_here("ask", prompt, "--provider", "local", "--group", "batch/evening")
    summary = study_here("analytics", "summary")
    assert "2: 2 success" in summary.out
    assert "local-extract" in study_here("analytics", "providers").out
    series = study_here("analytics", "timeseries", "--bucket", "minute", "--timezone", "Europe/Berlin", "--detail")
    assert re.search(r"local +2 ", series.out)
    assert "█" in series.out
    assert "at (Europe/Berlin)" in series.out
    assert "p95" in series.out
    assert "Nothing went wrong." in study_here("analytics", "errors").out
    assert "success" in study_here("analytics", "recent", "--limit", "1").out
    document = study_here("analytics", "timeseries", "--json").document
    assert sum(item["calls"] for item in document["items"]) == 2
    assert study_here("analytics", "summary", "--group", "batch/evening", "--json").document["saved"] is None
    assert study_here("analytics", "summary", "--as-of", "2", "--json").document["calls"] == 1


def test_an_empty_store_says_so(study_here: Study) -> None:
    assert "No calls." in study_here("analytics", "timeseries").out
    assert "No calls." in study_here("analytics", "providers").out
    assert study_here("analytics", "summary").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("timeseries", "--timezone", "Mars/Base"), "IANA"),
        (("summary", "--since", "2026-03-02", "--until", "2026-03-01"), "is after until"),
        (("timeseries", "--bucket", "minute", "--since", "2020-01-01", "--until", "2021-01-01"), "longer buckets"),
    ],
)
def test_what_makes_no_sense_is_refused(study_here: Study, words: tuple[str, ...], told: str) -> None:
    ran = study_here("analytics", *words)
    assert (ran.code, told in ran.err) == (2, True)


def test_the_pages_examples_work(
    study_here: Study, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "STUDY_HOME"):
        monkeypatch.setenv(name, environment[name])
    text = PAGE.read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 5
    for line in lines:
        ran = study_here(*shlex.split(line)[1:])
        assert ran.code == 0, (line, ran)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, Path(PAGE).name, "exec"), {})


def test_the_pages_sql_works(study_here: Study, environment: dict[str, str]) -> None:
    import psycopg

    study_here("ask", "Name three primes.", "--provider", "local")
    study_here("analytics", "summary")  # a command catches up before it reads
    (block,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        for statement in block.strip().removesuffix(";").split(";\n"):
            assert connection.execute(statement.encode()).fetchall(), statement
