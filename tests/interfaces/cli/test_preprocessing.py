"""Preprocessing as a user asks for it: options, and keys in a file's lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.interfaces.cli.conftest import Study

ASKED = ("ask", "Rome is  in Italy. Write to ada@example.org. Where is Rome?", "--provider", "local")
STEPS = ("--preprocess", "whitespace,pii", "--template", "{user_input} ({tone})", "--field", "tone=kind")


def content(call: dict) -> str:
    text = call["request"]["messages"][-1]["content"]
    assert isinstance(text, str)
    return text


def test_a_prompt_is_cleaned_and_put_into_a_template(study_here: Study) -> None:
    answer = study_here(*ASKED, *STEPS, "--json").document
    call = study_here("call", answer["call_id"], "--json").document
    assert content(call) == "Rome is in Italy. Write to [EMAIL]. Where is Rome? (kind)"
    assert [step["step"] for step in call["preprocessing"]["steps"]] == ["whitespace", "pii", "template"]
    assert call["original"] is None
    kept = study_here(*ASKED, "--preprocess", "whitespace", "--json").document
    call = study_here("call", kept["call_id"], "--json").document
    assert call["original"]["messages"][0]["content"] == ASKED[1]


def test_a_line_of_a_file_may_have_steps_of_its_own(study_here: Study, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines = [
        {"prompt": "Rome  ?"},
        {"prompt": "Rome  ?", "preprocess": [], "template": "<{user_input}> {a}", "fields": {"a": "b"}},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    asked = study_here("ask", "--file", str(file), "--provider", "local", *STEPS, "--json").document["items"]
    calls = [study_here("call", item["call_id"], "--json").document for item in asked]
    assert [content(call) for call in calls] == ["Rome ? (kind)", "<Rome  ?> b"]
    file.write_text('{"prompt": "?", "template": "{user_input} {tone}"}')
    refused = study_here("ask", "--file", str(file))
    assert (refused.code, "line 1: The template names {tone}" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"fields": {"a": 3}, "template": "{user_input} {a}"}, "fields must be texts by their names"),
        ({"preprocess": "pii"}, "preprocess must be a list of steps"),
        ({"template": 1}, "template must be a text"),
        ({"n": "3"}, "Expected `int`, got `str` - at `n`"),
        ({"attempt_timeout_s": "3"}, "Expected `float | null`, got `str` - at `attempt_timeout_s`"),
    ],
)
def test_a_line_that_is_wrong_is_told_by_its_keys(
    study_here_without_store: Study, tmp_path: Path, line: dict[str, Any], said: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps({"prompt": "?", **line}))
    refused = study_here_without_store("ask", "--file", str(file))
    assert (refused.code, f"line 1: {said}" in refused.err) == (2, True), refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preprocess", "clean"), "'clean' is no step"),
        (("--template", "no place"), "has no {user_input}"),
        (("--template", "{user_input.__class__}"), "no plain name"),
        (("--field", "tone"), "'tone' is not NAME=VALUE"),
        (("--field", "tone=a", "--field", "tone=b"), "given twice"),
        (("--field", "tone=a"), "Fields are for a template"),
    ],
)
def test_steps_that_cannot_be_run_are_refused(
    study_here_without_store: Study, words: tuple[str, ...], said: str
) -> None:
    refused = study_here_without_store("ask", "?", *words)
    assert (refused.code, said in refused.err) == (2, True)
