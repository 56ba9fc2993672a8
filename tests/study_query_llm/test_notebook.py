"""How objects show themselves: whatever their texts say, and without the store once it is closed."""

import asyncio
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import study_query_llm as sq
from application.ask_model import Answer
from application.batches import Unanswered
from application.embed_texts import Embedded
from domain.calls import Tokens
from study_query_llm.notebook.bars import bar
from study_query_llm.notebook.curve import curve
from study_query_llm.notebook.lineage import lineage_page
from study_query_llm.notebook.pages import batch_page, conversation_page, group_page, rows_page, sweep_page
from tests.conftest import Database

NASTY = """</div><script>alert(1)</script><img src=x onerror="alert(1)">&amp;"""
SOME_ID = UUID(int=7)


class Elements(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not [name for name, _ in attrs if name.startswith("on")], attrs
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def looked_at(page: str) -> Elements:
    """A page that is well formed and runs nothing."""
    elements = Elements(page)
    assert elements.open == []
    assert not {"script", "img", "iframe", "style", "link"} & set(elements.tags)
    return elements


def an_answer(**changes: Any) -> Answer:
    given: dict[str, Any] = {
        "call_id": SOME_ID, "status": "success", "text": NASTY, "provider": NASTY, "model": "m", "latency_ms": 1234.5,
        "tokens": Tokens(total=1200), "attempts": 2, "position": 3, "cost": Decimal("0.00012300"),
    }  # fmt: skip
    return Answer(**{**given, **changes})


def a_sweep(**changes: Any) -> dict[str, Any]:
    step = {"silhouette": 0.5, "stability_ari_mean": 0.7, "stability_ari_std": 0.1, "nmi": None}
    return {
        "sweep_id": str(SOME_ID), "method": NASTY, "status": "finished", "chosen_k": 3, "explanation": NASTY,
        "steps": [{"k": 2, **step}, {"k": 3, **step}], "reason": NASTY,
        "clusters": [{"cluster": 0, "name": NASTY, "size": 4, "keywords": [NASTY]}], **changes,
    }  # fmt: skip


def test_an_answer_shows_its_text_as_it_is_and_what_is_known_of_it() -> None:
    shown = looked_at(an_answer(cached=True)._repr_html_())  # type: ignore[attr-defined]
    for told in (NASTY, "1,200 tokens", "1,234 ms", "2 attempts", "$0.000123", "from the cache", str(SOME_ID)):
        assert told in shown.text, told
    silent = looked_at(an_answer(text=None, refused=True, cost=None)._repr_html_())  # type: ignore[attr-defined]
    assert "The model gave no text" in silent.text
    assert "declined" in silent.text
    assert "$" not in silent.text


def test_what_has_no_answer_says_why() -> None:
    failed = Unanswered(status="failed", error=NASTY, call_id=SOME_ID)
    assert f"failed: {NASTY}" in looked_at(failed._repr_html_()).text  # type: ignore[attr-defined]
    shown = looked_at(batch_page("b", [an_answer(), failed])).text
    assert "Batch b: 1 of 2 answered" in shown
    assert "1 without an answer" in shown


def test_vectors_show_how_many_they_are_and_not_their_numbers() -> None:
    embedded = Embedded(
        vectors=np.zeros((1500, 64), dtype=np.float32), cached=np.arange(1500) < 3, request_hashes=("a",) * 1500,
        call_ids=(SOME_ID,) * 1500, provider="local", endpoint="", model="m", position=1,
    )  # fmt: skip
    assert repr(embedded) == "<Embedded 1500 × 64 by local/m: 3 from the cache>"
    assert "1,500 vectors of 64 dimensions" in looked_at(embedded._repr_html_()).text  # type: ignore[attr-defined]


def test_a_sweep_shows_its_curves_and_clusters() -> None:
    shown = looked_at(sweep_page(a_sweep()))
    assert shown.tags.count("svg") == 2  # of what was measured
    assert NASTY in shown.text
    assert "0.700 at K = 3, the chosen one" in shown.text
    begun = looked_at(sweep_page(a_sweep(chosen_k=None, status="running", steps=[], clusters=[], explanation=None)))
    assert "running" in begun.text
    assert "0 steps finished" in begun.text


def test_a_curve_leaves_out_what_is_missing() -> None:
    assert curve("x", [2, 3], [None, None]) == ""
    assert curve("x", [2, 3, 4], [1.0, None, 1.0]).count("<circle") == 2


def test_rows_show_their_first_rows_and_how_many_there_are() -> None:
    rows = [{"call_id": number, "nested": {"a": 1}, "nothing": None, "text": NASTY} for number in range(30)]
    shown = looked_at(rows_page(rows))
    assert shown.tags.count("tr") == 21
    assert "the first 20 of 30 rows" in shown.text
    assert "2 more columns in .to_frame()" in shown.text
    assert "No rows" in looked_at(rows_page([])).text


def test_groups_conversations_and_lineages_escape_what_they_hold() -> None:
    group = {"group_type": NASTY, "name": NASTY, "group_id": SOME_ID, "description": NASTY, "metadata": {NASTY: NASTY}}
    child = {"link_type": "step", "group_type": NASTY, "name": NASTY}
    assert NASTY in looked_at(group_page({**group, "member_count": 2}, [child])).text
    said = [{"role": "user", "content": NASTY}] * 25
    assert "5 earlier ones are not shown" in looked_at(conversation_page(SOME_ID, said)).text
    here = {"kind": NASTY, "id": "1"}
    links = [{"relation": NASTY, "items": [here]}]
    walk = {"root": here, "nodes": [{**here, "label": NASTY, "links": links}], "edges": [], "complete": False}
    lineage = looked_at(lineage_page(walk)).text
    assert "(see above)" in lineage
    assert "Not everything is shown" in lineage


def test_a_bar_says_how_far_a_stage_is() -> None:
    assert "3/19, 62 s left" in looked_at(str(bar(NASTY, 3, 19, 61.7))).text
    assert "left" not in looked_at(str(bar("x", 19, 19, 0.0))).text


def test_a_study_stays_open_between_the_cells_of_a_notebook_and_works_beside_its_loop(
    database: Database, tmp_path: Path
) -> None:
    async def cells() -> None:
        study = sq.open(database_url=database.application_uri, home=tmp_path)
        answer = study.ask("A cat.", provider="local")
        group = study.group("run", "x")
        group.add(answer)
        conversation = study.conversation(provider="local")
        conversation.say("A dog.")
        assert "Group run/x" in looked_at(group._repr_html_() or "").text
        assert "A dog." in looked_at(conversation._repr_html_() or "").text
        assert "attempt" in looked_at(study.provenance(answer)._repr_html_()).text
        assert "local" in looked_at(study.calls()._repr_html_()).text
        study.close()
        study.close()
        assert group._repr_html_() is None
        assert conversation._repr_html_() is None
        with pytest.raises(RuntimeError):
            study.calls()

    asyncio.run(cells())


def test_a_program_that_closes_nothing_ends_all_the_same(database: Database, tmp_path: Path) -> None:
    program = (
        "import sys, study_query_llm as sq\n"
        "study = sq.open(database_url=sys.argv[1], home=sys.argv[2])\n"
        "print(study.ask('A cat.', provider='local').status)"
    )
    words = [sys.executable, "-c", program, database.application_uri, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "success\n"), done.stderr
    assert "Traceback" not in done.stderr
