"""Searching prompts and answers from the command line."""

import re
import shlex
from pathlib import Path

from tests.interfaces.cli.conftest import Study

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "search.md"


def test_the_page_about_searching_says_what_works(study_here: Study) -> None:
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL) for line in block.splitlines()
    ]
    asked, *searches = (shlex.split(line)[1:] for line in lines)
    assert study_here(*asked).code == 0
    assert len(searches) == 4
    for command in searches:
        assert "prompt: Name three prime numbers." in study_here(*command).out or "primes" in command, command
    found = study_here("calls", "--search", "PRIME", "--json").document
    assert [each["part"] for each in found["items"][0]["found"]] == ["prompt", "answer"]
    assert found["searched"]["behind_events"] == 0
    assert "No calls." in study_here("calls", "--search", "-prime").out
    assert "No calls." in study_here("calls", "--search", "prime", "--as-of", "0").out
    nothing = study_here("calls", "--search", "+++")
    assert (nothing.code, "no word to search for" in nothing.err) == (2, True)
    assert "what to search for" in study_here("calls", "--in", "prompt").err
    parts = study_here("calls", "--search", "prim", "--match", "substring")
    assert (parts.code, "CREATE EXTENSION pg_trgm" in parts.err) == (2, True)
    checks = {each["check"]: each for each in study_here("doctor", "--json").document["items"]}
    assert checks["search in texts"]["ok"]
    assert "CREATE EXTENSION pg_trgm" in checks["search in texts"]["detail"]
